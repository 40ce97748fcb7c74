// What is drawn on the shown image as a file: a table, outlines, a picture, DICOM SEG.

const DOWNLOADS = {
  table: 'Table (CSV)',
  geojson: 'GeoJSON',
  rois: 'ImageJ ROIs',
  overlay: 'Overlay (PNG)',
  dicom_seg: 'DICOM SEG',
};
const downloading = { chosen: 'table' };

/** What the shown image may be downloaded as, by name; DICOM SEG refers to DICOM only. */
const offeredDownloads = () =>
  Object.keys(DOWNLOADS).filter(name => name !== 'dicom_seg' || panelState.image?.dicom);

/** Give the browser a file to save. */
function saveFile(blob, name) {
  const link = make('a', { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

/** Download what is drawn in the active viewport; what nobody labelled counts as background. */
async function downloadLabel() {
  await clicking.running;
  const segmentationId = activeLabelmap();
  if (!segmentationId || !labelImages(segmentationId).length) {
    throw new Error('There is no label on the active image; run a model or draw one first');
  }
  const model = labelmapModels.get(segmentationId) ?? panelState.model;
  const labels = labelsOf(model);
  const { data, sizes, grid } = labelToSend(segmentationId, model);
  const ignored = structuresOf(segmentationId)[IGNORED];
  if (ignored) {
    data.forEach((value, position) => (data[position] = value === ignored ? 0 : value));
  }
  const image = shownInstance(displaySetOf(segmentationId));
  const output = downloading.chosen;
  const reply = await ask('POST', 'viewer/export', {
    query: { image, output },
    form: {
      params: JSON.stringify({ labels, model }),
      label: await writeNrrd(data, sizes, grid, 'label.nrrd'),
    },
  });
  const sent = /filename="(.+)"/.exec(reply.headers.get('content-disposition') ?? '');
  const name = `${panelState.image?.id ?? 'image'}_${sent?.[1] ?? output}`.replace(/[/\\]/g, '_');
  saveFile(await reply.blob(), name);
  return `${name} is downloaded`;
}

function offerDownloads() {
  const offered = offeredDownloads();
  if (!offered.includes(downloading.chosen)) {
    [downloading.chosen] = offered;
  }
  const select = panelState.root.querySelector('.ml-download select');
  select.replaceChildren(
    ...offered.map(value => make('option', { value }, [DOWNLOADS[value]]))
  );
  select.value = downloading.chosen;
}

addSection({
  name: 'download',
  title: 'Download',
  order: 62,
  build: () => {
    const chooser = choice('File', [], '', chosen => (downloading.chosen = chosen), false);
    const button = action('Download', 'Writing the file ...', downloadLabel,
      'Download what is drawn on the active image');
    const row = make('div', { class: 'ml-row ml-download' }, [chooser, button]);
    return fold('download', 'Download', [row]);
  },
  update: ({ type }) => {
    if (['open', 'image'].includes(type)) {
      offerDownloads();
    }
  },
});
