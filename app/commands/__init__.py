"""What the commands of `voice-live` do; `app.cli` has their options and prints what they find."""
