// Which images a study holds, as the server counts them, and which of them is hung first.

const STACKS = '@ohif/extension-default.sopClassHandlerModule.stack';
const RETIRED = ['1.2.840.10008.5.1.4.1.1.3', '1.2.840.10008.5.1.4.1.1.6']; // of ultrasound
const ALWAYS_VOLUMES = ['CT', 'MR'];

/** Whether instances of a series are the slices of one volume, as the server decides. */
function areSlices(instances) {
  if (ALWAYS_VOLUMES.includes(instances[0].Modality)) {
    return true;
  }
  const places = new Set(instances.map(({ ImagePositionPatient: place }) => place && `${place}`));
  return places.size === instances.length && !places.has(undefined);
}

/** Make a display set of each still, of retired kinds too: OHIF makes one of all of a series. */
function separateStills(extensionManager) {
  const handler = extensionManager.getModuleEntry(STACKS);
  handler.sopClassUids.push(...RETIRED.filter(uid => !handler.sopClassUids.includes(uid)));
  const all = handler.getDisplaySetsFromSeries;
  handler.getDisplaySetsFromSeries = instances => {
    const parts = areSlices(instances) ? [instances] : instances.map(instance => [instance]);
    return parts.flatMap(part => all(part));
  };
  return () => (handler.getDisplaySetsFromSeries = all);
}

const hanging = { chosen: '' }; // the display set that the reader chose last

/** Whether a display set is to be hung first: chosen, or named by the page's address. */
function isAskedFor(displaySet) {
  if (hanging.chosen) {
    return displaySet.displaySetInstanceUID === hanging.chosen;
  }
  const asked = new URLSearchParams(window.location.search);
  const instance = asked.get('initialSOPInstanceUID');
  if (instance) {
    return Boolean(displaySet.instances?.some(one => one.SOPInstanceUID === instance));
  }
  return displaySet.SeriesInstanceUID === asked.get('initialSeriesInstanceUID');
}

/** Whether what is hung first is of a kind: the image that is asked for, else any of the study. */
function hangs(displaySets, isOfKind) {
  const asked = displaySets.find(isAskedFor);
  return asked ? Boolean(isOfKind(asked)) : displaySets.some(found => Boolean(isOfKind(found)));
}

const ASKED_FIRST = {
  attribute: 'isAskedFor',
  constraint: { equals: { value: true } },
  weight: 100,
};

/** Whether OHIF can draw three planes of a display set: it draws none of colour. */
const hasPlanes = displaySet =>
  displaySet.isReconstructable && !(displaySet.instances?.[0]?.SamplesPerPixel > 1);

/** The hanging protocol for a display set. */
function protocolFor(displaySet) {
  if (isMammogram(displaySet) && openExams().includes(displaySet.StudyInstanceUID)) {
    return mammographyProtocol.id;
  }
  return hasPlanes(displaySet) ? 'monailabel.volume' : 'monailabel.image';
}

/** Hang an image of another kind than those on the screen by the protocol for its kind. */
function hangByKind({ hangingProtocolService, displaySetService }) {
  const update = hangingProtocolService.getViewportsRequireUpdate;
  hangingProtocolService.getViewportsRequireUpdate = (viewportId, uid, hung = true) => {
    const displaySet = displaySetService.getDisplaySetByUID(uid);
    const protocol = protocolFor(displaySet);
    hanging.chosen = uid;
    if (!hung || displaySet.unsupported || hangingProtocolService.protocol.id === protocol) {
      return update.call(hangingProtocolService, viewportId, uid, hung);
    }
    hangingProtocolService.setProtocol(protocol);
    return [];
  };
  return () => {
    hanging.chosen = '';
    hangingProtocolService.getViewportsRequireUpdate = update;
  };
}
