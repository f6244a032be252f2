"""What the gateway adds between a caller's WebSocket and Voice Live, and costs, beside a relay in C."""
