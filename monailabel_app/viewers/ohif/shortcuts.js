// Keys of the panel. They go no further, so OHIF does nothing of its own at them.

const SHORTCUTS = [
  { key: 'b', does: 'Brush', run: () => chooseTool('brush') },
  { key: 'e', does: 'Eraser', run: () => chooseTool('eraser') },
  { key: 's', does: 'Scribble', run: () => chooseTool('scribble') },
  { key: 'g', does: 'Not this', run: () => chooseTool('scribble-background') },
  { key: 'x', does: 'Box', run: () => chooseTool('box') },
  { key: 'f', does: 'Lasso', run: () => chooseTool('lasso') },
  { key: 'a', does: 'Add', run: () => chooseTool('add') },
  { key: 'd', does: 'Remove', run: () => chooseTool('remove') },
  { key: 'n', does: 'Next structure', run: () => nextStructure() },
  { key: ',', does: 'Smaller brush', run: () => growBrush(-1) },
  { key: '.', does: 'Larger brush', run: () => growBrush(1) },
  { key: 'ctrl+z', does: 'Undo', run: () => panelButton('undo').click() },
  { key: 'ctrl+shift+z', does: 'Redo', run: () => panelButton('redo').click() },
  { key: 'ctrl+y', does: 'Redo', run: () => panelButton('redo').click() },
  { key: 'escape', does: 'End the tool', run: () => chooseTool(''), when: () => toolOn() },
  { key: '?', does: 'These keys', run: () => showShortcuts() },
];
const KEY_NAMES = { 'ctrl+z': 'Ctrl+Z', 'ctrl+y': 'Ctrl+Y', escape: 'Esc' };

const panelButton = name => panelState.root.querySelector(`[data-do="${name}"]`);
const toolOn = () => Boolean(toolNow());

/** The name of a key, such as "ctrl+shift+z"; a sign that needs Shift has its own name. */
function keyOf({ key, ctrlKey, metaKey, altKey, shiftKey }) {
  const letter = /^[a-z]$/i.test(key);
  return [
    ...(ctrlKey || metaKey ? ['ctrl'] : []),
    ...(altKey ? ['alt'] : []),
    ...(shiftKey && letter ? ['shift'] : []),
    key.toLowerCase(),
  ].join('+');
}

const TYPED = 'textarea, select, [contenteditable="true"], input:not([type=checkbox], [type=range])';

/** Run what a key stands for, unless something is typed or a question is open. */
function onKey(event) {
  const found = SHORTCUTS.find(({ key }) => key === keyOf(event));
  const typed = event.target.closest?.(TYPED) && keyOf(event) !== 'escape';
  const busy = document.querySelector('[role="alertdialog"], [role="dialog"]');
  if (!found || typed || busy || !panelState.info || !(found.when?.() ?? true)) {
    return;
  }
  event.preventDefault();
  event.stopPropagation();
  if (!event.repeat || [',', '.'].includes(found.key)) {
    found.run();
  }
}

function watchKeys(there) {
  const listen = there ? 'addEventListener' : 'removeEventListener';
  window[listen]('keydown', onKey, true); // before OHIF's own
}

/** The list of the keys, folded. */
function shortcutList() {
  const entries = SHORTCUTS.filter(({ key }) => key !== 'ctrl+shift+z').map(({ key, does }) =>
    make('li', {}, [make('kbd', {}, [KEY_NAMES[key] ?? key.toUpperCase()]), ` ${does}`])
  );
  return make('details', { class: 'ml-keys' }, [
    make('summary', {}, ['Keys (?)']),
    make('ul', {}, entries),
  ]);
}

function showShortcuts() {
  const list = panelState.root.querySelector('.ml-keys');
  list.open = !list.open;
  if (list.open) {
    list.scrollIntoView({ block: 'nearest' });
  }
}
