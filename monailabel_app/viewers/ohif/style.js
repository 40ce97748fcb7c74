// Colours and sizes of the panel, after OHIF's own dark theme.

const PANEL_STYLE = `
.monailabel { color: #d9e6f2; font-size: 13px; padding: 10px; overflow-y: auto; height: 100%; }
.monailabel > div > * { margin-bottom: 10px; }
.monailabel label { display: flex; flex-direction: column; gap: 4px; color: #8fb3d1; }
.monailabel select { background: #041c4a; color: #fff; border: 1px solid #2b5a99;
  border-radius: 4px; padding: 4px 6px; font-size: 13px; width: 100%; }
.monailabel .ml-row { display: flex; gap: 6px; }
.monailabel button { flex: 1; background: #0944b3; color: #fff; border-radius: 4px;
  padding: 6px 4px; font-weight: 600; border: 1px solid transparent; }
.monailabel button:hover { background: #1a5fd9; }
.monailabel button:disabled { opacity: 0.4; }
.monailabel .ml-saved, .monailabel .ml-saved:hover { background: #00704f; border-color: #3ddba8; }
.monailabel .ml-status { min-height: 18px; margin-bottom: 10px; overflow-wrap: anywhere; }
.monailabel .ml-status[data-kind='busy'] { color: #8fb3d1; }
.monailabel .ml-status[data-kind='done'] { color: #5cd6a9; }
.monailabel .ml-status[data-kind='error'] { color: #ff9b73; }
.monailabel .ml-answer > * { margin-bottom: 10px; }
.monailabel .ml-class { display: flex; gap: 12px; align-items: center; }
.monailabel .ml-class span { overflow-wrap: anywhere; color: #8fb3d1; }
.monailabel .ml-class .ml-letter { font-size: 40px; font-weight: 700; line-height: 1; color: #fff; }
.monailabel .ml-bar { display: grid; grid-template-columns: 16px 1fr 56px; gap: 6px;
  align-items: center; }
.monailabel .ml-track { background: #0b2a5b; height: 10px; border-radius: 5px; overflow: hidden; }
.monailabel .ml-fill { display: block; height: 100%; background: #4c7fbf; }
.monailabel .ml-answered { font-weight: 700; color: #fff; }
.monailabel .ml-answered .ml-fill { background: #e69f00; }
.monailabel .ml-number { text-align: right; font-variant-numeric: tabular-nums; }
.monailabel .ml-warning { border-left: 3px solid #e69f00; background: #33270a; padding: 6px 10px; }
.monailabel ul { list-style: disc; padding-left: 18px; overflow-wrap: anywhere; }
.monailabel table { width: 100%; border-collapse: collapse; }
.monailabel th { text-align: left; color: #8fb3d1; font-weight: 400; }
.monailabel td, .monailabel th { padding: 2px 6px 2px 0; border-bottom: 1px solid #14305e;
  vertical-align: top; overflow-wrap: anywhere; }
.monailabel .ml-small { color: #8fb3d1; font-size: 12px; overflow-wrap: anywhere; }
.monailabel .ml-saliency { width: 100%; margin-top: 6px; }
.monailabel [aria-pressed='true'], .monailabel [aria-pressed='true']:hover { background: #00704f;
  border-color: #3ddba8; }
.monailabel .ml-clicks > * { margin-bottom: 6px; }
.ml-clicking .cornerstone-viewport-element { cursor: crosshair !important; }
.ml-marks { position: absolute; inset: 0; overflow: hidden; pointer-events: none; }
.ml-mark { position: absolute; transform: translate(-50%, -50%); width: 14px; height: 14px;
  line-height: 12px; border-radius: 7px; border: 1px solid #fff; text-align: center;
  font-size: 13px; font-weight: 700; color: #fff; opacity: 0.9; }
.ml-foreground { background: #00875f; }
.ml-background { background: #c2410c; }
.monailabel .ml-line { border-top: 1px solid #14305e; }
`;
