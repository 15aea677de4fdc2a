// Pages that are opened from the disk may start no Worker: the search then runs in a hidden frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      this.ready = new Promise((resolve) => {
        document.addEventListener("DOMContentLoaded", () => resolve(), { once: true });
        if (document.readyState !== "loading") resolve();
      }).then(() => {
        document.body.append(frame);
        const inside = frame.contentWindow;
        inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
        inside.importScripts = () => {};
        const script = inside.document.createElement("script");
        script.src = new URL(url, location.href).href;
        return new Promise((resolve) => {
          script.onload = () => resolve(inside);
          inside.document.head.append(script);
        });
      });
    }
    postMessage(data) {
      this.ready.then((inside) => inside.dispatchEvent(new inside.MessageEvent("message", { data })));
    }
    terminate() {}
  };
}
