import { VoiceLiveCall } from '../voice-live-call.js';

const [start, stop, words, end] = ['#start', '#stop', '#words', '#end'].map((id) => /** @type {Element} */ (document.querySelector(id)));
start.addEventListener('click', () => {
  const call = new VoiceLiveCall({ url: '/ws/voice' }); // of another server: 'wss://voice.example.com/ws/voice'
  call.on('transcript', ({ final, speaker, text }) => {
    if (final) words.append(Object.assign(document.createElement('li'), { textContent: `${speaker}: ${text}` }));
  });
  call.on('ended', ({ failure }) => (end.textContent = failure?.message ?? 'The call has ended.'));
  stop.addEventListener('click', () => call.stop());
  call.start();
});
