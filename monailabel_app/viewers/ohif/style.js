// Colours and sizes of the panel, after OHIF's own dark theme. Text has a contrast of 4.5 to 1 at
// least with what lies behind it, edges of controls and the focus 3 to 1 (WCAG AA).

const PANEL_STYLE = `
div:has(> .monailabel) { width: clamp(316px, 20vw, 384px) !important;
  max-width: clamp(316px, 20vw, 384px) !important; }
.monailabel { --ml-ground: #0b1026; --ml-field: #041c4a; --ml-edge: #6f8fc4; --ml-line: #2b3a67;
  --ml-quiet: #a5c3de; --ml-button: #14305e; --ml-hover: #1f4584; --ml-main: #0944b3;
  --ml-on: #00704f; --ml-good: #5cd6a9;
  display: flex; flex-direction: column; flex: 1; min-height: 0; overflow: hidden;
  background: var(--ml-ground); color: #e6f1ff; font-size: 13px; line-height: 1.35; }
.monailabel [hidden] { display: none !important; }
.monailabel .ml-unseen { position: absolute; width: 1px; height: 1px; overflow: hidden;
  clip-path: inset(50%); white-space: nowrap; }
.monailabel :focus-visible { outline: 2px solid #fff; outline-offset: 1px; }
.monailabel .ml-status { flex: none; min-height: 30px; max-height: 92px; overflow-y: auto;
  padding: 6px 10px; border-bottom: 1px solid var(--ml-line); overflow-wrap: anywhere; }
.monailabel .ml-status[data-kind='busy'] { color: var(--ml-quiet); }
.monailabel .ml-status[data-kind='done'] { color: var(--ml-good); }
.monailabel .ml-status[data-kind='error'] { color: #ff9b73; }
.monailabel .ml-wait { flex: none; align-items: center; justify-content: space-between;
  padding: 4px 10px; border-bottom: 1px solid var(--ml-line); }
.monailabel .ml-wait button { flex: none; }
.monailabel .ml-controls { position: relative; flex: 1; min-height: 0; overflow: hidden auto;
  padding: 8px 10px; scrollbar-width: thin; }
.monailabel .ml-foot { position: relative; flex: none; max-height: 60%; padding: 8px 10px;
  overflow: hidden auto; scrollbar-width: thin;
  border-top: 1px solid var(--ml-line); }
.monailabel .ml-section { margin-bottom: 8px; }
.monailabel .ml-foot .ml-section:last-child { margin-bottom: 0; }
.monailabel .ml-section > div:not(.ml-row) > * + *, .monailabel .ml-train > * + *,
.monailabel .ml-clicks > * + *, .monailabel .ml-answer > * + * { margin-top: 6px; }
.monailabel .ml-row { display: flex; gap: 6px; align-items: stretch; }
.monailabel label { color: var(--ml-quiet); }
.monailabel .ml-field { display: flex; flex: 1 1 0; min-width: 0; gap: 6px; align-items: center; }
.monailabel select, .monailabel input[type='number'] { background: var(--ml-field); color: #fff;
  border: 1px solid var(--ml-edge); border-radius: 4px; padding: 3px 6px; font-size: 13px; }
.monailabel select { width: 100%; min-width: 0; min-height: 28px; text-overflow: ellipsis; }
.monailabel input[type='number'] { width: 56px; }
.monailabel input::placeholder { color: var(--ml-quiet); opacity: 1; }
.monailabel button { flex: 1 1 auto; display: inline-flex; align-items: center;
  justify-content: center; gap: 5px; min-height: 28px; background: var(--ml-button); color: #fff;
  border-radius: 4px; padding: 3px 8px; font-weight: 600; border: 1px solid transparent;
  white-space: nowrap; }
.monailabel button:hover { background: var(--ml-hover); }
.monailabel button:disabled { opacity: 0.45; }
.monailabel .ml-primary { background: var(--ml-main); }
.monailabel .ml-primary:hover { background: #1a5fd9; }
.monailabel .ml-icon { flex: none; width: 15px; height: 15px; fill: none; stroke: currentColor;
  stroke-width: 1.5; stroke-linecap: round; stroke-linejoin: round; }
.monailabel .ml-row > button + .ml-field { flex: 0 0 88px; }
.monailabel .ml-row > .ml-field + button, .monailabel .ml-task ~ button { flex: none; }
.monailabel [aria-pressed='true'], .monailabel [aria-pressed='true']:hover,
.monailabel .ml-saved, .monailabel .ml-saved:hover { background: var(--ml-on);
  border-color: #3ddba8; }
.monailabel .ml-switch { display: flex; gap: 6px; align-items: center; min-width: 0; }
.monailabel .ml-options { align-items: center; justify-content: space-between; }
.monailabel input[type='range'] { flex: 1; min-width: 60px; appearance: auto; background: none;
  padding: 0; accent-color: #7fa9e0; }
.monailabel input[type='checkbox'] { accent-color: #7fa9e0; }
.monailabel progress { display: block; width: 100%; height: 10px; accent-color: #e69f00; }
.monailabel summary { cursor: pointer; color: var(--ml-quiet); font-weight: 600; }
.monailabel .ml-foot details ul { max-height: 112px; overflow-y: auto; }
.monailabel .ml-outcome { max-height: 54px; overflow-y: auto; overflow-wrap: anywhere; }
.monailabel .ml-small { color: var(--ml-quiet); font-size: 12px; overflow-wrap: anywhere; }
.monailabel ul { list-style: disc; padding-left: 18px; overflow-wrap: anywhere; }
.monailabel table { width: 100%; border-collapse: collapse; }
.monailabel th { text-align: left; color: var(--ml-quiet); font-weight: 400; }
.monailabel td, .monailabel th { padding: 2px 6px 2px 0; border-bottom: 1px solid var(--ml-line);
  vertical-align: top; overflow-wrap: anywhere; }
.monailabel .ml-told { display: flex; flex-wrap: wrap; gap: 0 5px; }
.monailabel .ml-choice { padding: 3px 6px; }
.monailabel .ml-class { display: flex; gap: 12px; align-items: center; }
.monailabel .ml-class span { overflow-wrap: anywhere; color: var(--ml-quiet); }
.monailabel .ml-class .ml-letter { font-size: 36px; font-weight: 700; line-height: 1; color: #fff; }
.monailabel .ml-class .ml-letter.ml-word { font-size: 18px; white-space: nowrap; }
.monailabel .ml-bars { display: grid; grid-template-columns: minmax(16px, max-content) 1fr 56px;
  gap: 2px 6px; align-items: center; }
.monailabel .ml-bar { display: contents; }
.monailabel .ml-track { background: #0b2a5b; height: 10px; border-radius: 5px; overflow: hidden; }
.monailabel .ml-fill { display: block; height: 100%; background: #4c7fbf; }
.monailabel .ml-answered { font-weight: 700; color: #fff; }
.monailabel .ml-answered .ml-fill { background: #e69f00; }
.monailabel .ml-number { text-align: right; font-variant-numeric: tabular-nums; }
.monailabel .ml-warning { border-left: 3px solid #e69f00; background: #33270a; padding: 6px 10px; }
.monailabel .ml-inline { display: flex; gap: 6px; align-items: center; white-space: nowrap; }
.monailabel .ml-legend .ml-swatch { display: inline-block; width: 10px; height: 10px; margin: 0 4px; }
.monailabel .ml-scale { display: flex; gap: 6px; align-items: center; }
.monailabel .ml-magma { flex: 1; height: 10px; background: linear-gradient(90deg, #000004, #3b0f70,
  #8c2981, #de4968, #fe9f6d, #fcfdbf); }
.ml-layer { position: absolute; inset: 0; width: 100%; height: 100%; pointer-events: none; }
.monailabel .ml-tool { flex: 1 1 0; flex-direction: column; gap: 1px; padding: 3px 0; min-width: 0;
  font-size: 12px; line-height: 14px; }
.monailabel .ml-tools > * + * { margin-top: 4px; }
.monailabel .ml-armed { color: var(--ml-good); }
.monailabel .ml-colour { flex: none; width: 12px; height: 12px; border-radius: 3px; }
.monailabel [data-do][aria-disabled='true'] { opacity: 0.45; }
.monailabel .ml-keys ul { display: grid; grid-template-columns: 1fr 1fr; gap: 2px 8px; list-style: none;
  padding: 4px 0 0; }
.monailabel kbd { border: 1px solid var(--ml-edge); border-radius: 3px; padding: 0 4px; }
.ml-drawing .cornerstone-viewport-element { cursor: crosshair !important; touch-action: none; }
.ml-sketch { position: absolute; inset: 0; width: 100%; height: 100%; overflow: hidden;
  pointer-events: none; fill: none; stroke: #fff; stroke-width: 1.5; }
.ml-sketch .ml-line-foreground { stroke: #3ddba8; stroke-width: 3; }
.ml-sketch .ml-line-background { stroke: #ff9b73; stroke-width: 3; }
.ml-clicking .cornerstone-viewport-element { cursor: crosshair !important; }
.ml-marks { position: absolute; inset: 0; overflow: hidden; pointer-events: none; }
.ml-mark { position: absolute; transform: translate(-50%, -50%); width: 14px; height: 14px;
  line-height: 12px; border-radius: 7px; border: 1px solid #fff; text-align: center;
  font-size: 13px; font-weight: 700; color: #fff; opacity: 0.9; }
.ml-foreground { background: #00875f; }
.ml-background { background: #c2410c; }
.monailabel .ml-reading { color: #5acce6; text-decoration: underline; }
.monailabel .ml-frames-title { color: var(--ml-quiet); }
.monailabel .ml-frames-list { flex: 1; display: flex; align-content: flex-end; flex-wrap: wrap;
  gap: 4px; max-height: 56px; overflow-y: auto; }
.monailabel .ml-frames .ml-row { align-items: flex-end; }
.monailabel .ml-frames-list button { flex: none; min-height: 22px; padding: 0 6px;
  font-weight: 400; }
.monailabel .ml-frames input[type='number'] { width: 46px; padding: 3px 4px; }
.monailabel .ml-frames label { display: flex; gap: 6px; align-items: center; }
.monailabel .ml-works { list-style: none; padding: 0; }
.monailabel .ml-work { border-bottom: 1px solid var(--ml-line); padding: 4px 0; }
.monailabel .ml-work button { min-height: 24px; padding: 1px 6px; font-size: 12px; }
.monailabel .ml-layer-row { display: flex; gap: 8px; align-items: center; }
.monailabel .ml-layer-row span { flex: 1; }
.monailabel .ml-layer-row .ml-swatch { flex: none; width: 14px; height: 14px; border: 3px solid; }
.monailabel .ml-layer-row button { flex: none; }
.monailabel .ml-current { color: var(--ml-good); font-weight: 600; }
.monailabel .ml-dice { color: #fff; padding: 4px 0; }
.monailabel .ml-line { border-top: 1px solid var(--ml-line); }
.monailabel .ml-structures { display: flex; flex-wrap: wrap; gap: 4px; }
.monailabel .ml-structures button { flex: none; min-height: 24px; padding: 1px 8px; }
.monailabel .ml-structures [aria-pressed] { background: none; border-color: var(--ml-edge); }
.monailabel .ml-structures [aria-pressed='false'] { color: var(--ml-quiet);
  text-decoration: line-through; }
.monailabel .ml-structures .ml-swatch { width: 10px; height: 10px; border-radius: 2px; }
.monailabel .ml-tool[data-do] { flex-direction: row; gap: 5px; }
.monailabel .ml-clicks .ml-row { gap: 4px; }
.monailabel .ml-clicks button { padding: 3px 4px; gap: 4px; }
.monailabel .ml-look { display: flex; flex-wrap: wrap; gap: 4px 12px; align-items: center; }
.monailabel .ml-look > * + * { margin-top: 0 !important; }
.monailabel .ml-look .ml-inline { flex: 1; min-width: 110px; }
`;
