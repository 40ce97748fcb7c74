// What the server refuses OHIF itself, as the frames of a damaged file: OHIF shows nothing then, so
// the panel says why.

const refusals = { ofStudy: '', waiting: null };

/** The server's reason in the body of an answer, read as JSON, text or bytes; '' without one. */
function reasonIn(body) {
  try {
    const text = body instanceof ArrayBuffer ? new TextDecoder().decode(body) : body;
    const { detail } = typeof text === 'string' ? JSON.parse(text) : text;
    return typeof detail === 'string' ? detail : '';
  } catch {
    return '';
  }
}

/** Called by OHIF for each of its own requests that failed. */
function noticeRefusal({ request }) {
  const reason = reasonIn(request?.response);
  if (!reason || !/\/(metadata|frames)/.test(request.responseURL)) {
    return;
  }
  if (request.responseURL.includes('/metadata')) {
    refusals.ofStudy = reason;
    refusals.waiting?.(new Error(reason));
  } else if (panelState.root?.querySelector('.ml-status')?.dataset.kind !== 'busy') {
    tell(reason, 'error');
  }
}

window.config.httpErrorHandler = noticeRefusal;

/** Wait until the images of the study are listed; an error with the reason if they are refused. */
function untilListed() {
  const { displaySetService } = window.services;
  return new Promise((resolve, reject) => {
    refusals.waiting = reject;
    const look = () => displaySetService.getActiveDisplaySets().length && resolve();
    displaySetService.subscribe(displaySetService.EVENTS.DISPLAY_SETS_ADDED, look);
    look();
    if (refusals.ofStudy) {
      reject(new Error(refusals.ofStudy));
    }
  });
}
