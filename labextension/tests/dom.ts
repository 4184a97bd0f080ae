/**
 * What JupyterLab asks of a browser and jsdom does not have. To be imported before anything of JupyterLab.
 */
class DragEventOfTests extends MouseEvent {}

Object.assign(globalThis, { DragEvent: DragEventOfTests });

window.matchMedia = (media: string) =>
  Object.assign(new EventTarget(), {
    media,
    matches: false,
    onchange: null,
    addListener: () => undefined,
    removeListener: () => undefined
  });

Object.assign(globalThis, {
  requestIdleCallback: (work: () => void) => setTimeout(work, 0),
  cancelIdleCallback: clearTimeout
});

// Of names that need no escape: user-event looks for the other radio buttons by theirs.
Object.assign(globalThis, { CSS: { escape: (name: string) => name } });
