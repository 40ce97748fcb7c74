// OHIF's list of studies: a click on a row, or Enter, opens the study in this app's mode. The arrow of
// a row folds out its series and OHIF's other modes, as a click anywhere on the row does in OHIF.

const STUDY_ROW = 'studyRow-'; // OHIF's `data-cy` of what holds the row of a study, before its UID
const OF_MODALITY = 4; // column of the list
const LIST_STYLE = `
[data-study]:focus-visible, [data-study] [role='button']:focus-visible { outline: 2px solid #fff;
  outline-offset: -2px; }
[data-study] [role='button']:hover { color: #fff; }`;

/** The row of the list that an element is in; undefined beside rows and in what is folded out. */
function studyRowOf(target) {
  const row = target.closest?.('tr[data-cy]');
  const study = row?.dataset.cy;
  const holder = row?.parentElement.closest('tr[data-cy]');
  return holder?.dataset.cy === `${STUDY_ROW}${study}` ? { row, study } : undefined;
}

/** Open a study in this mode, without loading the page again unless in a new tab. */
function openStudy(study, inNewTab) {
  const url = new URL('ohif/monai-label', SERVER);
  url.searchParams.set('StudyInstanceUIDs', study);
  if (inNewTab) {
    window.open(url);
    return;
  }
  // as OHIF's router goes to an address: by an entry of the history with its number
  const state = { usr: null, key: `study-${Date.now()}`, idx: (window.history.state?.idx ?? 0) + 1 };
  window.history.pushState(state, '', url);
  window.dispatchEvent(new PopStateEvent('popstate', { state }));
}

/** Why a row's study cannot be opened here; '' if it can. */
function whyNotOpened(row) {
  const modalities = row.children[OF_MODALITY]?.title ?? '';
  return opensModalities(modalities)
    ? ''
    : `This study holds ${modalities || 'no images'}, which MONAI Label does not open: it opens ` +
        `images (${MODALITIES.slice(0, 6).join(', ')} and others)`;
}

function onStudyClick(event) {
  const found = studyRowOf(event.target);
  if (!found || event.target.closest('[role="button"], [role="tooltip"] .fixed')) {
    return; // the arrow, or OHIF's box that copies a text
  }
  const why = whyNotOpened(found.row);
  if (why) {
    const { uiNotificationService } = window.services;
    uiNotificationService.show({ title: 'MONAI Label', message: why, type: 'warning' });
    return; // OHIF folds the row out
  }
  event.stopPropagation();
  openStudy(found.study, event.ctrlKey || event.metaKey);
}

function onStudyKey(event) {
  const found = studyRowOf(event.target);
  const pressed = found && (event.key === 'Enter' || (event.key === ' ' && event.target !== found.row));
  if (pressed && event.target.matches('[data-study], [role="button"]')) {
    event.preventDefault();
    event.stopPropagation();
    event.target.dispatchEvent(new MouseEvent('click', { bubbles: true, ctrlKey: event.ctrlKey }));
  }
}

/** Make rows and their arrows reachable by Tab, and say what they do. */
function nameStudyRows() {
  for (const holder of document.querySelectorAll(`tr[data-cy^="${STUDY_ROW}"]`)) {
    const row = holder.querySelector('tr[data-cy]');
    const arrow = row?.querySelector('td svg')?.parentElement;
    if (!arrow) {
      continue;
    }
    if (!row.dataset.study) {
      row.dataset.study = row.dataset.cy;
      row.tabIndex = 0;
      Object.assign(arrow, { tabIndex: 0, title: 'Series, and other ways to open it' });
      arrow.setAttribute('role', 'button');
      arrow.setAttribute('aria-label', arrow.title);
    }
    arrow.setAttribute('aria-expanded', `${Boolean(row.nextElementSibling)}`);
  }
}

const studyRows = new MutationObserver(nameStudyRows);

/** Watch the list of studies, which is there while no mode is. */
function watchStudies(there) {
  if (there) {
    nameStudyRows(); // of a list that is there already
    studyRows.observe(document.documentElement, { childList: true, subtree: true });
  } else {
    studyRows.disconnect();
  }
}

document.head.append(make('style', {}, [LIST_STYLE]));
document.addEventListener('click', onStudyClick, true);
document.addEventListener('keydown', onStudyKey, true);
watchStudies(true);
