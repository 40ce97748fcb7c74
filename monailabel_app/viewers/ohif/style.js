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
.monailabel .ml-line { border-top: 1px solid #14305e; }
`;
