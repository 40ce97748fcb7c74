// The last answer on the shown image. Answers outlive the panel's elements.

/** What an answer is about: the exam of a mammogram, or the image. */
const answerKey = displaySet =>
  isMammogram(displaySet) ? displaySet.StudyInstanceUID : displaySet.displaySetInstanceUID;

/** Keep an answer, and tell the sections. */
function keepAnswer(model, displaySet, answer) {
  const kept = { model, displaySet, answer };
  panelState.answers.set(answerKey(displaySet), kept);
  announce('answer', kept);
}

/** How well the model does on images that it was not trained on; its card is the tooltip. */
const evidence = (model, { figure, card = '', model_version: version }) =>
  make('p', { class: 'ml-small ml-figure', title: card }, [
    `${model}${version ? `, version ${version}` : ''}${figure ? `: ${figure.words}` : ''}`,
  ]);

/** The answer on the shown image, as elements. */
function answerElements({ model, displaySet, answer }) {
  if (isDensity(model)) {
    return [...densityAnswer(answer), evidence(model, answer)];
  }
  const found = [
    Object.keys(answer.label_names).join(', ') || 'nothing found',
    ...(answer.objects === undefined ? [] : [`${answer.objects} objects`]),
    `${percent(answer.foreground)} of the image`,
    ...(answer.presence === undefined ? [] : [`present with ${percent(answer.presence)}`]),
  ];
  return [
    make('p', {}, [found.join(', ')]),
    ...doubtsOf(answer),
    evidence(model, answer),
  ];
}

/** Why to doubt an answer, such as an image unlike those that the model was trained on. */
const doubtsOf = ({ warnings = [] }) =>
  warnings.length
    ? [
        make('div', { class: 'ml-warning', role: 'alert' }, [
          make('strong', {}, ['Check this answer']),
          bullets(warnings),
        ]),
      ]
    : [];

addSection({
  name: 'answer',
  title: 'Answer',
  order: 30,
  build: () => make('div', { class: 'ml-answer' }),
  update: ({ type }) => {
    if (['open', 'image', 'answer'].includes(type)) {
      const displaySet = activeDisplaySet();
      const kept = displaySet && panelState.answers.get(answerKey(displaySet));
      const elements = kept && kept.model in panelState.info.models ? answerElements(kept) : [];
      panelState.root.querySelector('.ml-answer').replaceChildren(...elements);
    }
  },
});
