// How long models have been asked, shown beneath the panel's first line, and a button to give it up.

const WAIT_MS = 2000; // before it is shown
const waits = { open: new Map(), timer: 0 }; // model and start of each request, by its controller

const GIVEN_UP = 'Stopped: the answer is not waited for any more; nothing was changed';

/**
 * Wait for an answer that may take long.
 *
 * @param {string} model that is asked
 * @param {function(AbortSignal): Promise} ask
 */
async function stoppable(model, ask) {
  const controller = new AbortController();
  waits.open.set(controller, { model, since: performance.now() });
  waits.timer = waits.timer || setInterval(showWait, 250);
  try {
    return await ask(controller.signal);
  } catch (error) {
    throw controller.signal.aborted ? new Error(GIVEN_UP) : error;
  } finally {
    waits.open.delete(controller);
    showWait();
  }
}

function stopWaiting() {
  waits.open.forEach((_, controller) => controller.abort());
}

/** Seconds that the last answer of a model took on the shown image; 0 if there is none. */
function lastSeconds(model) {
  const displaySet = activeDisplaySet();
  const last = displaySet && panelState.answers.get(answerKey(displaySet));
  return last?.model === model ? last.answer?.latencies?.total ?? 0 : 0;
}

/** Say of the request that has been waited for the longest for how long. */
function showWait() {
  const [first] = waits.open.values();
  if (!first) {
    clearInterval(waits.timer);
    waits.timer = 0;
  }
  const box = panelState.root?.querySelector('.ml-wait');
  if (!box) {
    return;
  }
  const passed = first ? performance.now() - first.since : 0;
  box.hidden = passed < WAIT_MS;
  if (box.hidden) {
    return;
  }
  const last = lastSeconds(first.model);
  const before = last >= 1 ? `, the last answer took ${Math.round(last)} s` : '';
  box.querySelector('span').textContent =
    `${first.model}: ${Math.floor(passed / 1000)} s${before}`;
}

function waitLine() {
  const stop = make('button', { class: 'ml-button', type: 'button' }, ['Stop waiting']);
  stop.addEventListener('click', stopWaiting);
  const text = make('span', { class: 'ml-small' });
  const line = make('div', { class: 'ml-wait ml-row', role: 'timer' }, [text, stop]);
  line.hidden = true;
  return line;
}
