/**
 * Lets the page be seen before it can be used: what waits in its templates, scripts too, would delay the first paint.
 * What comes then has its place already, so nothing moves.
 */

new PerformanceObserver((_paints, observer) => {
  observer.disconnect();
  for (const template of document.querySelectorAll('template')) template.replaceWith(template.content);
}).observe({ type: 'paint', buffered: true });
