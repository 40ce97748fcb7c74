// The panel of this app in OHIF: opened and closed with its tab.

/** Ask the server what it offers, and build the sections. */
async function fillPanel(root) {
  const info = await askJson('GET', 'info/');
  await untilListed();
  panelState.info = info;
  panelState.model = info.models[panelState.model] ? panelState.model : firstModel(info);
  panelState.strategy = panelState.strategy || Object.keys(info.strategies)[0];
  root.querySelector('.ml-controls').replaceChildren(...buildSections());
  root.querySelector('.ml-foot').replaceChildren(...buildSections(true));
  watchImage(true);
  watchClicks(true);
  watchDrawing(true);
  watchKeys(true);
  updateSections({ type: 'open', detail: null });
  await noticeImage();
  return info.name;
}

/**
 * Keep keys from OHIF's shortcuts where they mean something else: all of them in fields, and on
 * what can be pressed those that press it.
 */
function keepKeys(event) {
  const kept = event.target.matches('input, select, textarea') || [' ', 'Enter'].includes(event.key);
  if (kept && event.key !== 'Escape') {
    event.stopPropagation();
  }
}

/** Called by React with the panel's element, and with null when it goes. */
function mountPanel(root) {
  panelState.root = root;
  if (!root) {
    watchImage(false);
    watchClicks(false);
    watchDrawing(false);
    watchKeys(false);
    return;
  }
  ['keydown', 'keypress', 'keyup'].forEach(type => root.addEventListener(type, keepKeys));
  root.replaceChildren(
    make('style', {}, [PANEL_STYLE]),
    make('h2', { class: 'ml-unseen' }, ['MONAI Label']),
    make('div', { class: 'ml-status', role: 'status', 'aria-live': 'polite' }),
    waitLine(),
    make('div', { class: 'ml-controls' }),
    make('div', { class: 'ml-foot' })
  );
  act(root, 'Connecting ...', () => fillPanel(root));
}
