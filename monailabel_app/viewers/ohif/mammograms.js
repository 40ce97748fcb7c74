// The exams of mammography: which view a mammogram is, and which images of an exam are hung.

const VIEW_CODES = { 'R-10242': 'CC', 'R-10226': 'MLO', 399162004: 'CC', 399368009: 'MLO' };
// nipple in profile, infra-mammary fold: with them a view is a plain one
const PLAIN_MODIFIERS = ['442581004', 'R-40AB3', '442593008', 'R-40ABE'];
const MAGNIFIED = 1.25; // least factor of a magnification; a contact view has 1.0 to 1.1
const OF_TOMOSYNTHESIS = /^1\.2\.840\.10008\.5\.1\.4\.1\.1\.13\.1\.[345]$/;

const firstInstance = displaySet => displaySet?.instances?.[0] ?? displaySet?.images?.[0];

/** Whether a display set is a mammogram of any view. */
const isMammogram = displaySet => firstInstance(displaySet)?.Modality === 'MG';

/** Whether it is more than a plain view: implant displaced, magnified, a spot, tomosynthesis ... */
function isSpecialView(instance) {
  const modifiers = [instance.ViewCodeSequence]
    .flat()
    .flatMap(code => [code?.ViewModifierCodeSequence].flat())
    .filter(code => code && !PLAIN_MODIFIERS.includes(`${code.CodeValue}`));
  return (
    modifiers.length > 0 ||
    Number(instance.EstimatedRadiographicMagnificationFactor) >= MAGNIFIED ||
    /SPOT/i.test(instance.PaddleDescription ?? '') ||
    Number(instance.NumberOfFrames) > 1 ||
    OF_TOMOSYNTHESIS.test(instance.SOPClassUID)
  );
}

/** Name such as "R-CC" of a plain view, as the server names it; empty for any other image. */
function mammogramView(displaySet) {
  const instance = firstInstance(displaySet);
  if (!isMammogram(displaySet) || isSpecialView(instance)) {
    return '';
  }
  const code = [instance.ViewCodeSequence].flat()[0]?.CodeValue;
  const [film] = [instance.PatientOrientation].flat(); // of digitised film (CBIS-DDSM) the view
  const told = instance.ViewPosition || (code in VIEW_CODES ? '' : film);
  const letters = `${told ?? ''}`.toUpperCase().replace(/[^A-Z]/g, '');
  const [, named, position] = /^([RL]?)(CC|MLO)$/.exec(letters) ?? [];
  const side = instance.ImageLaterality || instance.Laterality || named || '';
  const view = VIEW_CODES[code] ?? position ?? '';
  return /^[RL]$/.test(side) && view ? `${side}-${view}` : '';
}

/** Keys of a view that was taken several times, the one that the server reads the greatest. */
const preference = displaySet => {
  const instance = firstInstance(displaySet);
  return [
    instance.PresentationIntentType === 'FOR PROCESSING' ? 0 : 1,
    instance.Rows * instance.Columns,
    `${instance.AcquisitionDate ?? ''}${instance.AcquisitionTime ?? ''}`,
    instance.SOPInstanceUID,
  ];
};

function isPreferred(one, other) {
  const [first, second] = [preference(one), preference(other)];
  const differ = first.findIndex((key, index) => key !== second[index]);
  return differ >= 0 && first[differ] > second[differ];
}

/** UID of the study whose exam is meant: that of the active viewport, else the first with one. */
function shownExam() {
  const study = activeDisplaySet()?.StudyInstanceUID;
  const found = openExams();
  return found.includes(study) ? study : (found[0] ?? '');
}

/** UIDs of the open studies that are exams of mammography. */
const openExams = () => [
  ...new Set(
    window.services.displaySetService
      .getActiveDisplaySets()
      .filter(mammogramView)
      .map(displaySet => displaySet.StudyInstanceUID)
  ),
];

/** The display sets of an exam by the name of their view; of a repeated view the preferred one. */
function mammograms(study = shownExam()) {
  const found = {};
  for (const displaySet of window.services.displaySetService.getActiveDisplaySets()) {
    const view = mammogramView(displaySet);
    if (view && displaySet.StudyInstanceUID === study) {
      const better = !found[view] || isPreferred(displaySet, found[view]);
      found[view] = better ? displaySet : found[view];
    }
  }
  return found;
}

/** Whether a mammogram, of whatever view, is one of an exam with plain views. */
const isOfExam = (displaySet, displaySets) =>
  isMammogram(displaySet) &&
  displaySets.some(
    one => mammogramView(one) && one.StudyInstanceUID === displaySet.StudyInstanceUID
  );

/** UID of the exam to hang first: of the image that is asked for, else as the address lists them. */
function examToHang() {
  const displaySets = window.services.displaySetService.getActiveDisplaySets();
  const asked = displaySets.find(isAskedFor)?.StudyInstanceUID;
  const listed = new URLSearchParams(window.location.search).get('StudyInstanceUIDs') ?? '';
  const found = openExams();
  return [asked, ...listed.split(',')].find(study => found.includes(study)) ?? found[0];
}

/** The view that a display set is hung as; '' for what does not hang by itself. */
function hungView(displaySet) {
  const { StudyInstanceUID } = displaySet;
  const view = mammogramView(displaySet);
  const hangs = view && StudyInstanceUID === examToHang();
  return hangs && mammograms(StudyInstanceUID)[view] === displaySet ? view : '';
}

/** A plain view of the shown exam, the active one if it is; undefined where there is no exam. */
function examDisplaySet() {
  const shown = activeDisplaySet();
  return shown && mammogramView(shown) ? shown : Object.values(mammograms())[0];
}

/** Date of an exam in words; '' if its tags have none. */
function dateOfExam(study) {
  const [displaySet] = Object.values(mammograms(study));
  const instance = firstInstance(displaySet);
  const [, year, month, day] =
    /^(\d{4})(\d\d)(\d\d)$/.exec(instance?.StudyDate || instance?.AcquisitionDate) ?? [];
  const date = new Date(Date.UTC(year, month - 1, day));
  return year ? date.toLocaleDateString('en-GB', { dateStyle: 'medium', timeZone: 'UTC' }) : '';
}

/** Hang the views of an exam, each in the viewport of its view; the first becomes the active one. */
function hangExam(study) {
  const { viewportGridService } = window.services;
  const hung = viewportGridService.getState().viewports;
  const updates = Object.entries(mammograms(study))
    .map(([view, { displaySetInstanceUID }]) => ({
      viewportId: `monailabel-${view}`,
      displaySetInstanceUIDs: [displaySetInstanceUID],
    }))
    .filter(({ viewportId }) => hung.has(viewportId));
  viewportGridService.setDisplaySetsForViewports(updates);
  viewportGridService.setActiveViewportId(updates[0]?.viewportId);
}
