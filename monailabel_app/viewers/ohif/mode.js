// The mode "MONAI Label": OHIF's segmentation mode with this app's panel, for images.

// OT is what a folder's pictures and volumes are that tell no modality
const MODALITIES = [
  ...['CT', 'MR', 'US', 'MG', 'OT', 'SC', 'GM', 'SM', 'XC', 'DX', 'CR', 'PT', 'NM', 'ES', 'OP'],
  ...['IVUS', 'OCT', 'XA', 'RF'],
];
// OHIF would show its player over pictures and volumes too
const CINE = { id: 'autoCineModalities', modalities: ['US', 'IVUS', 'XA', 'RF', 'ES'] };
const EXTENSION = 'monailabel';

/** Whether a study with these modalities, between slashes of any kind, holds an image. */
const opensModalities = modalities =>
  modalities.split(/[\\/]/).some(modality => MODALITIES.includes(modality));

const isSeg = name => name.includes('extension-cornerstone-dicom-seg');

const viewport = (id, side) => ({
  viewportOptions: {
    viewportId: `monailabel-${id}`,
    viewportType: 'stack',
    toolGroupId: 'default',
    allowUnmatchedView: true,
    displayArea: {
      storeAsInitialCamera: true,
      imageArea: [1, 1],
      // the chest walls meet in the middle
      imageCanvasPoint: { imagePoint: [side, 0.5], canvasPoint: [side, 0.5] },
    },
  },
  displaySets: [{ id }],
});

const viewSelector = view => ({
  seriesMatchingRules: [
    { attribute: 'hungView', constraint: { equals: { value: view } }, required: true },
  ],
});

/** The four views as readers hang them: right breast on the left, CC above MLO. */
const mammographyProtocol = {
  id: 'monailabel.mammography',
  name: 'Mammography',
  numberOfPriorsReferenced: 0,
  protocolMatchingRules: [
    {
      attribute: 'hasMammograms',
      constraint: { equals: { value: true } },
      weight: 100,
      required: true,
    },
  ],
  toolGroupIds: ['default'],
  displaySetSelectors: {
    'R-CC': viewSelector('R-CC'),
    'L-CC': viewSelector('L-CC'),
    'R-MLO': viewSelector('R-MLO'),
    'L-MLO': viewSelector('L-MLO'),
  },
  stages: [
    {
      name: 'CC above MLO',
      viewportStructure: { layoutType: 'grid', properties: { rows: 2, columns: 2 } },
      viewports: [
        viewport('R-CC', 1),
        viewport('L-CC', 0),
        viewport('R-MLO', 1),
        viewport('L-MLO', 0),
      ],
    },
  ],
};

function addProtocols(hangingProtocolService) {
  hangingProtocolService.addCustomAttribute('hungView', 'View that a mammogram is hung as', hungView);
  hangingProtocolService.addCustomAttribute(
    'hasMammograms',
    'Whether there are mammograms of a known view',
    (study, { displaySets }) => hangs(displaySets, found => isOfExam(found, displaySets))
  );
  hangingProtocolService.addCustomAttribute(
    'hasVolumes',
    'Whether there are series that are volumes',
    (study, options) => hangs(options.displaySets, hasPlanes)
  );
  hangingProtocolService.addCustomAttribute(
    'isAskedFor',
    'Whether the address of the page asks for it',
    isAskedFor
  );
  hangingProtocolService.addCustomAttribute(
    'isImage',
    'Whether it is an image, not a label over one',
    displaySet => MODALITIES.includes(displaySet.Modality)
  );
  hangingProtocolService.addProtocol(mammographyProtocol.id, mammographyProtocol);
  // OHIF's default may show a label in the viewport of its image
  const image = {
    ...hangingProtocolService.getProtocolById('default'),
    id: 'monailabel.image',
    name: 'Image',
    protocolMatchingRules: [
      { attribute: 'hasVolumes', constraint: { equals: { value: false } }, weight: 1 },
    ],
    displaySetSelectors: {
      defaultDisplaySetId: {
        seriesMatchingRules: [
          { attribute: 'isImage', constraint: { equals: { value: true } }, required: true },
          ASKED_FIRST,
        ],
      },
    },
  };
  hangingProtocolService.addProtocol(image.id, image);
  const planes = hangingProtocolService.getProtocolById('mpr');
  const { activeDisplaySet: first } = planes.displaySetSelectors;
  const volume = {
    ...planes,
    displaySetSelectors: {
      ...planes.displaySetSelectors,
      activeDisplaySet: {
        ...first,
        seriesMatchingRules: [...first.seriesMatchingRules, ASKED_FIRST],
      },
    },
    id: 'monailabel.volume',
    name: 'Volume',
    isPreset: false,
    protocolMatchingRules: [
      {
        attribute: 'hasVolumes',
        constraint: { equals: { value: true } },
        weight: 10,
        required: true,
      },
    ],
  };
  hangingProtocolService.addProtocol(volume.id, volume);
}

/** List only the open studies beside the images; returns a function that restores the search. */
function limitToOpenStudies(extensionManager) {
  const { studies } = extensionManager.getActiveDataSource()[0].query;
  const { search } = studies;
  studies.search = async (...request) => {
    const open = new URLSearchParams(window.location.search).get('StudyInstanceUIDs') ?? '';
    const found = await search.apply(studies, request);
    return found.filter(study => open.split(',').includes(study.studyInstanceUid));
  };
  return () => (studies.search = search);
}

async function modeFactory({ modeConfiguration, loadModules }) {
  const [segmentation] = await loadModules(['@ohif/mode-segmentation']);
  const base = segmentation.modeFactory({ modeConfiguration });
  let restore = [];
  return {
    ...base,
    id: '@ohif/mode-monai-label',
    routeName: 'monai-label',
    displayName: 'MONAI Label',
    onModeEnter: managers => {
      const { customizationService, hangingProtocolService } = managers.servicesManager.services;
      base.onModeEnter(managers);
      watchStudies(false);
      refusals.ofStudy = '';
      provideFirstFrames();
      customizationService.addModeCustomizations([CINE]);
      hangingProtocolService.setActiveProtocolIds([
        mammographyProtocol.id,
        'monailabel.volume',
        'monailabel.image',
      ]);
      restore = [
        limitToOpenStudies(managers.extensionManager),
        separateStills(managers.extensionManager),
        hangByKind(managers.servicesManager.services),
      ];
    },
    onModeExit: managers => {
      restore.forEach(undo => undo());
      base.onModeExit(managers);
      watchStudies(true);
    },
    isValidMode: ({ modalities }) => ({
      valid: opensModalities(modalities),
      description: 'MONAI Label opens images',
    }),
    // OHIF's viewport for DICOM SEG ends the page over images without geometry (ultrasound)
    sopClassHandlers: base.sopClassHandlers.filter(handler => !isSeg(handler)),
    hangingProtocol: undefined, // the best of those that `onModeEnter` names
    routes: base.routes.map(route => ({
      ...route,
      path: 'monai-label',
      layoutTemplate: found => {
        const layout = route.layoutTemplate(found);
        const rightPanels = [`${EXTENSION}.panelModule.annotate`]; // OHIF's own ones do less
        const viewports = layout.props.viewports.filter(({ namespace }) => !isSeg(namespace));
        return { ...layout, props: { ...layout.props, viewports, rightPanels } };
      },
    })),
  };
}

const extension = {
  id: EXTENSION,
  preRegistration: ({ servicesManager }) => {
    addProtocols(servicesManager.services.hangingProtocolService);
  },
  getPanelModule: () => [
    {
      name: 'annotate',
      iconName: 'tab-segmentation',
      iconLabel: 'MONAI Label',
      label: 'MONAI Label',
      // an element as React makes it: this file cannot import React
      component: () => ({
        $$typeof: Symbol.for('react.element'),
        type: 'div',
        key: null,
        ref: mountPanel,
        props: { className: 'monailabel' },
        _owner: null,
      }),
    },
  ],
};

window.config.extensions.push(extension);
window.config.modes.push({ id: '@ohif/mode-monai-label', modeFactory });
