// What a density model says of an exam, in words: class, probability, breasts, views, doubts.

const SIDES = { R: 'right', L: 'left' };
const percent = share => `${(100 * share).toFixed(1)} %`;
const CLASS_WORDS = {
  A: 'almost entirely fatty',
  B: 'scattered fibroglandular density',
  C: 'heterogeneously dense',
  D: 'extremely dense',
  'non-dense': 'fatty or scattered (A or B)',
  dense: 'heterogeneously or extremely dense (C or D)',
};

/** The whole answer as elements. */
function densityAnswer(answer) {
  const parts = [
    make('div', { class: 'ml-class' }, [
      make('span', { class: answer.class.length > 2 ? 'ml-letter ml-word' : 'ml-letter' }, [
        answer.class,
      ]),
      make('span', { title: `exam ${answer.exam}` }, [answerInWords(answer)]),
    ]),
    bars(answer.probabilities, answer.class),
    ...doubtsOf(answer),
  ];
  if (answer.uncertain) {
    parts.push(
      make('div', { class: 'ml-warning', role: 'alert' }, [
        make('strong', {}, ['Needs a reader']),
        bullets(answer.reasons),
      ])
    );
  }
  const notes = [
    ...(answer.notes ?? []),
    ...Object.entries(answer.views).flatMap(([name, view]) =>
      [...view.doubts, ...view.notes].map(note => `${name}: ${note}`)
    ),
  ];
  parts.push(
    folded('Breasts and views', [
      table(['Breast', 'Class', 'Probability'], breastRows(answer)),
      table(['View', 'Class', 'Probability'], viewRows(answer)),
    ]),
    ...(notes.length ? [folded(`${notes.length} notes`, [bullets(notes)])] : []),
    make('div', { class: 'ml-small' }, [`Model version ${answer.model_version}`])
  );
  return parts;
}

const bullets = lines =>
  make(
    'ul',
    {},
    lines.map(line => make('li', {}, [line]))
  );

const folded = (title, parts) => make('details', {}, [make('summary', {}, [title]), ...parts]);

/** The class and how sure the model is of it, in a sentence or two. */
function answerInWords(answer) {
  const [first, second] = Object.entries(answer.probabilities).sort((one, two) => two[1] - one[1]);
  const meaning = CLASS_WORDS[answer.class] ?? 'density';
  const seen = `from ${answer.views_used.length} of 4 views`;
  const next = second ? `, then ${second[0]} with ${percent(second[1])}` : '';
  return `${meaning}: probability ${percent(first[1])}${next}; ${seen}`;
}

function bars(probabilities, answered) {
  return make(
    'div',
    { class: 'ml-bars' },
    Object.entries(probabilities).map(([name, share]) =>
      make('div', { class: name === answered ? 'ml-bar ml-answered' : 'ml-bar' }, [
        make('span', {}, [name]),
        make('span', { class: 'ml-track' }, [
          make('span', { class: 'ml-fill', style: `width: ${100 * share}%` }),
        ]),
        make('span', { class: 'ml-number' }, [percent(share)]),
      ])
    )
  );
}

function breastRows(answer) {
  return Object.entries(answer.breasts).map(([side, breast]) => [
    SIDES[side] ?? side,
    breast.class,
    percent(breast.probabilities[breast.class]),
  ]);
}

function viewRows(answer) {
  const used = Object.entries(answer.views).map(([name, view]) => [
    name,
    view.class,
    percent(view.probabilities[view.class]),
  ]);
  const left = Object.entries(answer.left_out).map(([name, why]) => [name, `not used: ${why}`]);
  return [...used, ...left];
}

function table(heads, rows) {
  const line = cells =>
    make(
      'tr',
      {},
      cells.map((cell, index) =>
        make('td', index === cells.length - 1 ? { colspan: heads.length - index } : {}, [cell])
      )
    );
  return make('table', {}, [
    make('thead', {}, [
      make(
        'tr',
        {},
        heads.map(head => make('th', {}, [head]))
      ),
    ]),
    make('tbody', {}, rows.map(line)),
  ]);
}
