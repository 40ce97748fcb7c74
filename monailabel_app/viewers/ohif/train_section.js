// Training from the panel: what there is to train on, how it goes on, what came of it; versions.

const POLL_SECONDS = { running: 1.5, idle: 10 };
const trainings = {
  task: '', // that is to be trained
  supply: null, // what /viewer/trainable says of it
  status: null, // what /viewer/training says
  versions: null, // what /viewer/versions says of the shown model
  noticed: '', // id of the training whose end was told last
  asked: { supply: 0, versions: 0 }, // an answer that a later one has overtaken is dropped
  epochs: '',
  fromLive: true,
  timer: 0,
};

/** The tasks that the shown image can teach. */
const trainableTasks = () => panelState.image?.trainers ?? Object.keys(panelState.info.trainers);

const clock = seconds =>
  `${Math.floor(seconds / 60)}:${String(Math.round(seconds) % 60).padStart(2, '0')}`;

/** Ask again how trainings stand, and once more after a while as long as the panel is open. */
async function pollTraining() {
  clearTimeout(trainings.timer);
  const before = trainings.status;
  const status = await askJson('GET', 'viewer/training').catch(() => before);
  const last = status?.last;
  const ended = before && last && ![before.last?.id, trainings.noticed].includes(last.id);
  if (ended) {
    trainings.noticed = last.id;
    await noticeWeights(last); // before its end is shown: what is pressed then asks the new weights
  }
  trainings.status = status;
  if (ended || JSON.stringify(status) !== JSON.stringify(before)) {
    announce('training', status);
  }
  clearTimeout(trainings.timer);
  if (panelState.root) {
    const pause = status?.running.length ? POLL_SECONDS.running : POLL_SECONDS.idle;
    trainings.timer = setTimeout(pollTraining, 1000 * pause);
  }
}

/** Weights may have changed: ask again what is offered, and say what came of the training. */
async function noticeWeights(last) {
  panelState.info = await askJson('GET', 'info/').catch(() => panelState.info);
  watching.shown = '';
  await noticeImage();
  await refreshVersions();
  if (last && isUntrained(panelState.model) && offeredModels().includes(last.model)) {
    chooseModel(last.model); // until now there was a tool at best
  }
  if (last) {
    if (panelState.root?.querySelector('.ml-status')?.dataset.kind !== 'busy') {
      tell(`Training of ${last.model} ${last.line}`, last.state === 'failed' ? 'error' : 'done');
    } // else its own line tells it: the status is that of what the reader is waiting for
  }
}

async function refreshSupply() {
  const tasks = trainableTasks();
  const known = [trainings.task, panelState.model].find(task => tasks.includes(task));
  trainings.task = known ?? tasks[0] ?? '';
  trainings.asked.supply += 1;
  const { supply: asked } = trainings.asked;
  const query = { model: trainings.task };
  const found = query.model
    ? await askJson('GET', 'viewer/trainable', { query }).catch(error => ({
        reason: error.message,
      }))
    : null;
  if (asked === trainings.asked.supply) {
    trainings.supply = found;
    showTraining();
  }
}

async function refreshVersions() {
  trainings.asked.versions += 1;
  const { versions: asked } = trainings.asked;
  const query = { model: panelState.model };
  const found = query.model
    ? await askJson('GET', 'viewer/versions', { query }).catch(() => null)
    : null;
  if (asked === trainings.asked.versions) {
    trainings.versions = found;
    showVersions();
  }
}

async function startTraining() {
  const { task, supply, epochs, fromLive } = trainings;
  const params = { pretrained: fromLive, ...(epochs ? { max_epochs: Number(epochs) } : {}) };
  await askJson('POST', `train/${encodeURIComponent(task)}`, {
    query: { enqueue: true },
    json: params,
  });
  await pollTraining();
  return `${task} is trained on ${supply.labels} labels`;
}

async function stopTraining() {
  await ask('DELETE', 'train/');
  await pollTraining();
  return 'The training is stopped; the live weights stay';
}

async function rollBack(model, version) {
  await ask('POST', `model/restore/${encodeURIComponent(model)}`, { query: { version } });
  announce('training', trainings.status);
  await noticeWeights(null);
  return `${model} answers with version ${version} again`;
}

/** How many accepted labels there are, and how many are missing. */
function supplyLine({ labels, missing, reason }) {
  if (labels === undefined) {
    return reason;
  }
  const counted = `${labels} accepted label${labels === 1 ? '' : 's'}`;
  return missing ? `${counted}; ${missing} more needed to train` : counted;
}

function progressOf(one) {
  if (one.state === 'waiting') {
    return [make('div', {}, [`${one.model} waits for its turn`])];
  }
  const told = [`${one.model} is being trained`];
  if (one.epoch !== undefined) {
    told.push(`epoch ${one.epoch} of ${one.total_epochs}`);
    const best = one.best_metric;
    told.push(best ? `best ${one.metric} ${best.toFixed(3)}` : 'no score yet');
    told.push(`${clock(one.seconds_left)} left`);
  }
  const bar = make('progress', { 'aria-label': `Training of ${one.model}` });
  if (one.total_epochs) {
    bar.max = one.total_epochs;
    bar.value = one.epoch;
  }
  return [make('div', {}, [told.join(', ')]), bar];
}

/** Field, boxes and buttons, made once: they stay under the reader's fingers when they change. */
function trainControls() {
  const chooser = choice('Task to train', trainableTasks(), trainings.task, task => {
    trainings.task = task;
    refreshSupply();
  }, false);
  const number = make('input', { type: 'number', min: 1, 'aria-label': 'Epochs' });
  number.value = trainings.epochs;
  number.addEventListener('change', () => (trainings.epochs = number.value));
  const live = make('input', { type: 'checkbox' });
  live.checked = trainings.fromLive;
  live.addEventListener('change', () => (trainings.fromLive = live.checked));
  chooser.classList.add('ml-task');
  return [
    make('div', { class: 'ml-row' }, [
      chooser,
      action('Train', 'Starting ...', startTraining, 'Train on all accepted labels'),
      action('Stop', 'Stopping ...', stopTraining, 'Stop the training that goes on'),
    ]),
    make('div', { class: 'ml-row ml-options' }, [
      make('label', { class: 'ml-switch' }, ['Epochs', number]),
      make('label', { class: 'ml-switch ml-live' }, [live, 'Start from live weights']),
    ]),
    make('div', { class: 'ml-small ml-supply' }),
  ];
}

/** Set the controls to what may be trained, by whom, and on how much. */
function showTraining() {
  const box = panelState.root?.querySelector('[data-section="train"] .ml-train');
  if (!box) {
    return;
  }
  const { task, supply, status } = trainings;
  const tasks = trainableTasks();
  const refusal = status?.refusal || supply?.refusal || '';
  const running = status?.running.some(one => one.state === 'running');
  const [train, stop] = box.querySelectorAll('.ml-button');
  setChoices(box.querySelector('select'), tasks, task);
  box.querySelector('.ml-row').hidden = !tasks.length;
  box.querySelector('.ml-options').hidden = !tasks.length || Boolean(refusal);
  box.querySelector('[type=number]').placeholder = supply?.max_epochs ?? '';
  box.querySelector('.ml-live').hidden = !supply?.live;
  train.hidden = Boolean(refusal);
  train.disabled = !supply || supply.missing !== 0;
  stop.hidden = Boolean(refusal) || !running;
  const counted = supply ? supplyLine(supply) : 'Counting labels ...';
  const line = box.querySelector('.ml-supply');
  line.textContent = tasks.length ? counted : 'No task fits this image';
  line.title = supply?.reason ?? '';
  const refused = refusal ? [make('div', { class: 'ml-small ml-refusal' }, [refusal])] : [];
  box.querySelectorAll('.ml-refusal').forEach(one => one.remove());
  box.append(...refused);
  showProgress();
}

function showProgress() {
  const box = panelState.root?.querySelector('.ml-progress');
  const { running = [], last } = trainings.status ?? {};
  const end = last && make('div', { class: 'ml-outcome' }, [`${last.model}: ${last.line}`]);
  box?.replaceChildren(...running.flatMap(progressOf), ...(end ? [end] : []));
}

function versionRow({ id, created, score, live, reason }, refusal) {
  const { model, metric } = trainings.versions;
  const figure = typeof score === 'number' ? `${metric} ${score.toFixed(3)}` : 'no figure';
  const name = created ? shortTime(created) : id;
  const back = live
    ? make('span', { class: 'ml-current' }, ['live'])
    : action('Roll back', 'Rolling back ...', () => rollBack(model, id), `Answer with ${id} again`);
  const end = refusal && !live ? '' : back;
  return make('li', { class: 'ml-work ml-layer-row', title: reason }, [
    make('span', {}, [`${name}, ${figure}`]),
    end,
  ]);
}

function showVersions() {
  const box = panelState.root?.querySelector('.ml-versions');
  const { versions } = trainings;
  if (!box) {
    return;
  }
  box.hidden = !versions?.versions.length;
  if (!box.hidden) {
    const { refusal, model } = versions;
    box.querySelector('summary').textContent = `Versions of ${model} (${versions.versions.length})`;
    box
      .querySelector('ul')
      .replaceChildren(
        ...versions.versions.map(one => versionRow(one, refusal)),
        ...(refusal ? [make('li', { class: 'ml-small ml-refusal' }, [refusal])] : [])
      );
  }
}

addSection({
  name: 'train',
  title: 'Train',
  order: 70,
  foot: true,
  build: () => {
    const versions = fold('versions', 'Versions', [make('ul', { class: 'ml-works' })]);
    versions.classList.add('ml-versions');
    return make('div', {}, [
      make('div', { class: 'ml-train' }, trainControls()),
      make('div', { class: 'ml-progress' }),
      versions,
    ]);
  },
  update: ({ type }) => {
    if (type === 'open') {
      showTraining();
      pollTraining();
    }
    if (['open', 'image', 'model', 'saved'].includes(type)) {
      refreshSupply();
    }
    if (['open', 'model'].includes(type)) {
      refreshVersions();
    }
    if (type === 'training') {
      showTraining();
    }
  },
});
