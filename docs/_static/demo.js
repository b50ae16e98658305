// The demo page: a pipeline in ONNX, applied to a digit that the reader draws.
(() => {
  const FILES = "_static/demo/";
  const SIDE = 8;
  const FINE = 32; // Each of the 8 x 8 values counts the ink in 4 x 4 fine cells.
  const byId = (id) => document.getElementById(id);
  const sessions = {};

  function addScript(source) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = source;
      script.onload = resolve;
      script.onerror = () => reject(new Error(`${source} cannot be loaded`));
      document.head.append(script);
    });
  }

  async function start() {
    const state = await (await fetch(FILES + "state.json")).json();
    if (state.fault) {
      byId("demo-status").textContent = `The demo is left out: ${state.fault}.`;
      return { fault: state.fault };
    }
    await addScript(FILES + "ort.wasm.min.js");
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = new URL(FILES, document.baseURI).href;
    for (const name of ["pipeline", "encoder", "autoencoder"]) {
      sessions[name] = await ort.InferenceSession.create(`${FILES}${name}.onnx`);
    }
    const samples = await (await fetch(FILES + "samples.json")).json();
    byId("demo-status").textContent = "Draw a digit in the large square.";
    byId("demo").hidden = false;
    listen(samples);
    show(await apply(samples.rows[0]), samples.rows[0]);
    return { samples };
  }

  async function apply(values) {
    const X = new ort.Tensor("float32", Float32Array.from(values), [1, SIDE * SIDE]);
    const found = await sessions.pipeline.run({ X });
    const { features } = await sessions.encoder.run({ X });
    const { reconstruction } = await sessions.autoencoder.run({ X });
    return {
      label: Number(found.label.data[0]),
      probabilities: Array.from(found.probabilities.data),
      code: Array.from(features.data),
      reconstruction: Array.from(reconstruction.data),
    };
  }

  function paint(canvas, values, columns, highest) {
    const rows = values.length / columns;
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    const [width, height] = [canvas.width / columns, canvas.height / rows];
    values.forEach((value, n) => {
      const shade = 255 * (1 - Math.min(Math.max(value / highest, 0), 1));
      context.fillStyle = `rgb(${shade}, ${shade}, ${shade})`;
      const [row, column] = [Math.floor(n / columns), n % columns];
      context.fillRect(column * width, row * height, width + 1, height + 1);
    });
  }

  function show(result, values) {
    paint(byId("demo-input"), values, SIDE, 16);
    paint(byId("demo-code"), result.code, 16, Math.max(...result.code, 1e-6));
    paint(byId("demo-reconstruction"), result.reconstruction, SIDE, 16);
    const percent = Math.round(100 * result.probabilities[result.label]);
    byId("demo-class").textContent = `${result.label} (${percent} %)`;
  }

  // Cut out the drawing, scale it to the whole square, and count the ink of each cell.
  function readDrawing(canvas) {
    const { width, height } = canvas;
    const ink = canvas.getContext("2d").getImageData(0, 0, width, height).data;
    let [left, top, right, bottom] = [width, height, -1, -1];
    for (let n = 0; n < width * height; n++) {
      if (ink[4 * n + 3] < 128) continue;
      const [x, y] = [n % width, Math.floor(n / width)];
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    }
    if (right < 0) return null;
    const fine = document.createElement("canvas");
    fine.width = fine.height = FINE;
    const [w, h] = [right - left + 1, bottom - top + 1];
    const scale = FINE / Math.max(w, h);
    const context = fine.getContext("2d", { willReadFrequently: true });
    context.drawImage(canvas, left, top, w, h, (FINE - w * scale) / 2,
      (FINE - h * scale) / 2, w * scale, h * scale);
    const cells = context.getImageData(0, 0, FINE, FINE).data;
    const values = new Array(SIDE * SIDE).fill(0);
    for (let n = 0; n < FINE * FINE; n++) {
      const [x, y] = [n % FINE, Math.floor(n / FINE)];
      const step = FINE / SIDE;
      const cell = Math.floor(y / step) * SIDE + Math.floor(x / step);
      values[cell] += cells[4 * n + 3] >= 128 ? 1 : 0;
    }
    return values;
  }

  function listen(samples) {
    const canvas = byId("demo-drawing");
    const context = canvas.getContext("2d", { willReadFrequently: true });
    Object.assign(context, {
      lineWidth: 22, lineCap: "round", lineJoin: "round", strokeStyle: "black",
    });
    let isDrawing = false;
    const position = (event) => {
      const box = canvas.getBoundingClientRect();
      const scale = canvas.width / box.width;
      return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    };
    canvas.addEventListener("pointerdown", (event) => {
      isDrawing = true;
      canvas.setPointerCapture(event.pointerId);
      context.beginPath();
      context.moveTo(...position(event));
      // A tap is a dot.
      context.lineTo(...position(event));
      context.stroke();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!isDrawing) return;
      context.lineTo(...position(event));
      context.stroke();
    });
    canvas.addEventListener("pointerup", async () => {
      isDrawing = false;
      const values = readDrawing(canvas);
      if (values) show(await apply(values), values);
    });
    canvas.addEventListener("pointercancel", () => {
      isDrawing = false;
    });
    byId("demo-clear").addEventListener("click", () => {
      context.clearRect(0, 0, canvas.width, canvas.height);
    });
    let n = 0;
    byId("demo-sample").addEventListener("click", async () => {
      const values = samples.rows[n++ % samples.rows.length];
      show(await apply(values), values);
    });
  }

  if (byId("demo")) window.skautoencDemo = { ready: start(), apply };
})();
