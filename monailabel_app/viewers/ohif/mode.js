// The mode "MONAI Label": OHIF's segmentation mode with this app's panel, for CT, MR, US and MG.

const MODALITIES = ['CT', 'MR', 'US', 'MG'];
const EXTENSION = 'monailabel';
const STACK_TOOLS = ['default', 'mpr'];

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
    { attribute: 'mammogramView', constraint: { equals: { value: view } }, required: true },
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
  hangingProtocolService.addCustomAttribute('mammogramView', 'View of a mammogram', displaySet =>
    mammogramView(displaySet)
  );
  hangingProtocolService.addCustomAttribute(
    'hasMammograms',
    'Whether there are mammograms of a known view',
    (study, options) => options.displaySets.some(found => mammogramView(found))
  );
  hangingProtocolService.addCustomAttribute(
    'hasVolumes',
    'Whether there are series that are volumes',
    (study, options) => options.displaySets.some(found => found.isReconstructable)
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
          { attribute: 'isDisplaySetFromUrl', constraint: { equals: true }, weight: 10 },
        ],
      },
    },
  };
  hangingProtocolService.addProtocol(image.id, image);
  const volume = {
    ...hangingProtocolService.getProtocolById('mpr'),
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
  let unlimited = () => {};
  return {
    ...base,
    id: '@ohif/mode-monai-label',
    routeName: 'monai-label',
    displayName: 'MONAI Label',
    onModeEnter: managers => {
      const { hangingProtocolService, segmentationService, toolGroupService } =
        managers.servicesManager.services;
      base.onModeEnter(managers);
      for (const name of STACK_TOOLS) {
        toolGroupService.getToolGroup(name)?.addTool('ProbeMONAILabel');
      }
      hangingProtocolService.setActiveProtocolIds([
        mammographyProtocol.id,
        'monailabel.volume',
        'monailabel.image',
      ]);
      teachPanel(segmentationService);
      unlimited = limitToOpenStudies(managers.extensionManager);
    },
    onModeExit: managers => {
      unlimited();
      base.onModeExit(managers);
    },
    isValidMode: ({ modalities }) => ({
      valid: modalities.split(/[\\/]/).some(modality => MODALITIES.includes(modality)),
      description: `MONAI Label opens ${MODALITIES.join(', ')}`,
    }),
    // OHIF's viewport for DICOM SEG ends the page over images without geometry (ultrasound)
    sopClassHandlers: base.sopClassHandlers.filter(handler => !isSeg(handler)),
    hangingProtocol: undefined, // the best of those that `onModeEnter` names
    routes: base.routes.map(route => ({
      ...route,
      path: 'monai-label',
      layoutTemplate: found => {
        const layout = route.layoutTemplate(found);
        const panels = [
          `${EXTENSION}.panelModule.annotate`,
          ...layout.props.rightPanels,
          '@ohif/extension-monai-label.panelModule.monailabel',
        ];
        const viewports = layout.props.viewports.filter(({ namespace }) => !isSeg(namespace));
        return { ...layout, props: { ...layout.props, viewports, rightPanels: panels } };
      },
    })),
    // without this app's extension: the configuration registers it, and OHIF would look for a file
    extensions: { ...base.extensions, '@ohif/extension-monai-label': '^3.0.0' },
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
