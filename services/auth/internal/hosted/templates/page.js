'use strict';
// Everything here is a convenience: each page works without it.
(() => {
  const all = (s) => document.querySelectorAll(s);
  const localTimes = () => all('time').forEach((t) => {
    const d = new Date(t.dateTime);
    const lang = document.documentElement.lang;
    if (isNaN(d)) return;
    if ('day' in t.dataset) t.textContent = d.toLocaleString(lang, { dateStyle: 'medium', timeStyle: 'short' });
    else t.textContent = d.toLocaleTimeString(lang, { hour: '2-digit', minute: '2-digit' });
  });
  const news = document.getElementById('news');
  let shown = news && news.textContent;
  let leaving = false;
  localTimes();

  // The server tells how many seconds are left. Our clock may be wrong, so it only counts them.
  const until = (seconds) => Date.now() + seconds * 1000;
  const wait = (end) => Math.max(0, Math.ceil((end - Date.now()) / 1000));
  const clock = (s) => Math.floor(s / 60) + ':' + String(s % 60).padStart(2, '0');
  const ways = all('.ways button');
  const left = document.getElementById('left');
  const end = left && until(left.dataset.left);
  const again = document.querySelector('.wait');
  let ready = again && until(again.dataset.left);
  const tick = () => {
    if (left) {
      left.hidden = false;
      left.textContent = left.dataset.text.replace('{left}', clock(wait(end)));
    }
    if (!again) return;
    const s = wait(ready);
    ways.forEach((b) => { b.disabled = s > 0; });
    again.hidden = s === 0;
    again.textContent = again.dataset.text.replace('{left}', clock(s));
  };
  tick();
  setInterval(tick, 1000);

  all('form').forEach((f) => f.addEventListener('submit', (e) => {
    if (f.dataset.sent) { e.preventDefault(); return; }
    f.dataset.sent = '1';
    leaving = true; // Whatever the news say now, the answer to the form is the page that counts.
    const b = f.querySelector('button[data-busy]');
    if (b) b.textContent = b.dataset.busy;
  }));
  // A page that the browser brings back from its memory may be used again.
  addEventListener('pageshow', (e) => { if (e.persisted) location.reload(); });
  all('form[data-submit]').forEach((f) => f.submit());

  if (!news || !news.dataset.events || !window.EventSource) return;
  const parsed = (html) => {
    const d = document.createElement('div');
    d.innerHTML = html;
    return d;
  };
  const follow = () => {
    const source = new EventSource(news.dataset.events);
    source.addEventListener('state', (e) => {
      if (leaving) return;
      const u = JSON.parse(e.data);
      if (u.state !== 'pending') { source.close(); location.replace(news.dataset.page); return; }
      if (again && u.again !== null) ready = until(u.again);
      // Who shares the mailbox learns when another sign-in begins to wait there.
      const why = document.getElementById('why');
      const reason = parsed(u.why);
      if (reason.textContent !== why.textContent) why.replaceChildren(...reason.childNodes);
      const next = parsed(u.news);
      if (next.textContent === shown) return; // Nothing is read out twice.
      shown = next.textContent;
      news.replaceChildren(...next.childNodes);
      localTimes();
    });
    source.onerror = () => {
      if (wait(end) > 0) {
        if (source.readyState === EventSource.CLOSED) setTimeout(follow, 15000);
        return;
      }
      source.close(); // Its time is over, so nothing more comes here: the page itself says how it ended.
      if (!leaving && navigator.onLine) location.replace(news.dataset.page);
    };
  };
  follow();
  addEventListener('offline', () => { shown = ''; news.textContent = news.dataset.offline; });
})();
