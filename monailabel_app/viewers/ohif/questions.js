// Questions to the reader. What asked goes on when one of the answers is pressed.

const QUESTION_STYLE = `
.ml-shade { position: fixed; inset: 0; z-index: 10000; background: rgb(0 0 0 / 55%); display: flex;
  align-items: center; justify-content: center; }
.ml-question { background: #041c4a; color: #fff; border: 1px solid #4c7fbf; border-radius: 6px;
  padding: 16px; max-width: 460px; font-size: 14px; overflow-wrap: anywhere; }
.ml-question p { margin-bottom: 12px; white-space: pre-line; }
.ml-question div { display: flex; gap: 8px; justify-content: flex-end; flex-wrap: wrap; }
.ml-question button { background: #0944b3; color: #fff; border-radius: 4px; padding: 6px 12px;
  font-weight: 600; border: 1px solid transparent; }
.ml-question button:hover { background: #1a5fd9; }
.ml-question button:focus-visible { outline: 2px solid #fff; }
`;

/**
 * Ask the reader.
 *
 * @param {Object<string, string>} answers name of the button by what is returned; the last is safe:
 *   it has the focus, and Escape means it
 * @returns {Promise<string>} key of the answer
 */
function question(text, answers) {
  const keys = Object.keys(answers);
  const safe = keys[keys.length - 1];
  const before = document.activeElement;
  return new Promise(resolve => {
    const end = key => {
      shade.remove();
      before?.focus?.();
      resolve(key);
    };
    const buttons = keys.map(key => {
      const button = make('button', { type: 'button', 'data-answer': key }, [answers[key]]);
      button.addEventListener('click', () => end(key));
      return button;
    });
    const box = make(
      'div',
      { class: 'ml-question', role: 'alertdialog', 'aria-modal': 'true', 'aria-label': text },
      [make('p', {}, [text]), make('div', {}, buttons)]
    );
    const shade = make('div', { class: 'ml-shade' }, [make('style', {}, [QUESTION_STYLE]), box]);
    shade.addEventListener('keydown', event => {
      event.stopPropagation(); // no shortcut of the viewer meanwhile
      if (event.key === 'Escape') {
        end(safe);
      }
      const at = buttons.indexOf(document.activeElement);
      if (event.key === 'Tab') {
        event.preventDefault();
        const next = at + (event.shiftKey ? -1 : 1) + buttons.length;
        buttons[next % buttons.length].focus();
      }
    });
    document.body.append(shade);
    buttons[buttons.length - 1].focus();
  });
}
