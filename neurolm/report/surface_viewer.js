/* Maps on the cortex: every <div class="surface"> of the page becomes a viewer.
 *
 * Left and right hemisphere turn together, as mirror images. A slider steps through the maps.
 * Keys on the picture: arrows turn, + and - zoom, Home looks from the side again.
 * Without WebGL the still picture of the page stays where it is. */
"use strict";
(() => {
  const HEMISPHERES = ["left", "right"];
  const VIEWS = { lateral: [90, 0], medial: [-90, 0], front: [0, 0], back: [180, 0], above: [0, 90], below: [0, -90] };
  const GYRUS = 214, SULCUS = 178;
  const SHADER = [`
    attribute vec3 position, normal, colour;
    uniform mat3 turn;
    uniform vec2 scale;
    varying vec3 shade;
    void main() {
      vec3 p = turn * position;
      float facing = max((turn * normal).z, 0.0);
      shade = colour * (0.55 + 0.45 * facing);
      gl_Position = vec4(p.xy * scale, -0.5 * p.z, 1.0);
    }`, `
    precision mediump float;
    varying vec3 shade;
    void main() { gl_FragColor = vec4(shade, 1.0); }`];

  /* ---- data ---------------------------------------------------------------------------- */

  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const meshes = {};

  function mesh(name) {
    if (meshes[name]) return meshes[name];
    const data = read(`mesh-${name}`);
    const faces = new Uint16Array(bytes(data.faces).buffer);
    const shapes = {};
    for (const shape of Object.keys(data.shapes)) {
      shapes[shape] = {};
      for (const hemisphere of HEMISPHERES) {
        const position = Float32Array.from(new Int16Array(bytes(data.shapes[shape][hemisphere]).buffer), (v) => v / 32767);
        shapes[shape][hemisphere] = { position, normal: normals(position, faces) };
      }
    }
    const sulci = Object.fromEntries(HEMISPHERES.map((h) => [h, bytes(data.sulci[h])]));
    return (meshes[name] = { faces, shapes, sulci });
  }

  function normals(p, faces) {
    const n = new Float32Array(p.length);
    for (let f = 0; f < faces.length; f += 3) {
      const [a, b, c] = [3 * faces[f], 3 * faces[f + 1], 3 * faces[f + 2]];
      const u = [p[b] - p[a], p[b + 1] - p[a + 1], p[b + 2] - p[a + 2]];
      const v = [p[c] - p[a], p[c + 1] - p[a + 1], p[c + 2] - p[a + 2]];
      const cross = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
      for (const i of [a, b, c]) for (let k = 0; k < 3; k++) n[i + k] += cross[k];
    }
    for (let i = 0; i < n.length; i += 3) {
      const length = Math.hypot(n[i], n[i + 1], n[i + 2]) || 1;
      for (let k = 0; k < 3; k++) n[i + k] /= length;
    }
    return n;
  }

  /* x right, y up, z towards the eye; brain: x right, y front, z up. */
  function turning(yaw, pitch, hemisphere) {
    const a = (hemisphere === "left" ? -yaw : yaw) * Math.PI / 180, b = pitch * Math.PI / 180;
    const right = [-Math.cos(a), Math.sin(a), 0];
    const eye = [Math.sin(a) * Math.cos(b), Math.cos(a) * Math.cos(b), Math.sin(b)];
    const up = [-Math.sin(a) * Math.sin(b), -Math.cos(a) * Math.sin(b), Math.cos(b)];
    return [right, up, eye];
  }

  /* ---- drawing ------------------------------------------------------------------------- */

  function renderer(canvas, geometry) {
    const gl = canvas.getContext("webgl", { antialias: true, preserveDrawingBuffer: true });
    if (!gl) return null;
    const program = gl.createProgram();
    [gl.VERTEX_SHADER, gl.FRAGMENT_SHADER].forEach((kind, i) => {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, SHADER[i]);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    });
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return null;
    gl.useProgram(program);
    gl.enable(gl.DEPTH_TEST);
    const attribute = Object.fromEntries(["position", "normal", "colour"].map((n) => [n, gl.getAttribLocation(program, n)]));
    Object.values(attribute).forEach((place) => gl.enableVertexAttribArray(place));
    const uniform = Object.fromEntries(["turn", "scale"].map((n) => [n, gl.getUniformLocation(program, n)]));
    const buffers = Object.fromEntries(HEMISPHERES.map((h) => [h, { position: gl.createBuffer(), normal: gl.createBuffer(), colour: gl.createBuffer() }]));
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, geometry.faces, gl.STATIC_DRAW);

    const fill = (buffer, values) => {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
    };
    return {
      shape: (name) => HEMISPHERES.forEach((h) => ["position", "normal"].forEach((n) => fill(buffers[h][n], geometry.shapes[name][h][n]))),
      colour: (hemisphere, values) => fill(buffers[hemisphere].colour, values),
      draw: (boxes, state) => {
        gl.clearColor(1, 1, 1, 1);
        gl.viewport(0, 0, canvas.width, canvas.height);
        gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
        for (const { hemisphere, x, y, width, height } of boxes) {
          gl.viewport(x, y, width, height);
          const size = scaling(width, height, state.zoom);
          gl.uniform2f(uniform.scale, size / width, size / height);
          gl.uniformMatrix3fv(uniform.turn, false, columns(turning(state.yaw, state.pitch, hemisphere)));
          for (const [name, place] of Object.entries(attribute)) {
            gl.bindBuffer(gl.ARRAY_BUFFER, buffers[hemisphere][name]);
            gl.vertexAttribPointer(place, 3, name === "colour" ? gl.UNSIGNED_BYTE : gl.FLOAT, name === "colour", 0, 0);
          }
          gl.drawElements(gl.TRIANGLES, geometry.faces.length, gl.UNSIGNED_SHORT, 0);
        }
      },
    };
  }

  const columns = ([r, u, e]) => new Float32Array([r[0], u[0], e[0], r[1], u[1], e[1], r[2], u[2], e[2]]);
  const scaling = (width, height, zoom) => 0.96 * zoom * Math.min(width, height * 1.42);

  /* Side by side where there is room, else left above right. */
  function boxes(canvas) {
    const { width, height } = canvas, stacked = width < height * 1.3;
    return HEMISPHERES.map((hemisphere, i) => stacked
      ? { hemisphere, x: 0, y: i ? 0 : height / 2, width, height: height / 2 }
      : { hemisphere, x: i * width / 2, y: 0, width: width / 2, height });
  }

  function painted(steps, sulci, colours) {
    const out = new Uint8Array(steps.length * 3);
    for (let i = 0; i < steps.length; i++) {
      const grey = sulci[i] ? SULCUS : GYRUS, at = 3 * (steps[i] - 1);
      for (let k = 0; k < 3; k++) out[3 * i + k] = steps[i] ? colours[at + k] : grey;
    }
    return out;
  }

  /* ---- one viewer ---------------------------------------------------------------------- */

  function make(name, attributes = {}, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }

  function viewer(place) {
    const data = read(`${place.id}-data`), geometry = mesh(data.mesh), colours = bytes(data.colours);
    const maps = data.maps.map((map) => Object.fromEntries(HEMISPHERES.map((h) => [h, bytes(map[h])])));
    const canvas = make("canvas", { tabindex: 0, role: "img", "aria-describedby": `${place.id}-keys` });
    const drawer = renderer(canvas, geometry);
    if (!drawer) return;
    const state = { map: data.first, yaw: 90, pitch: 0, zoom: 1, shape: "inflated" };

    const slider = make("input", { type: "range", min: 0, max: maps.length - 1, step: 1, value: data.first, id: `${place.id}-map` });
    const shown = make("output", { for: slider.id });
    const value = make("p", { class: "value", "aria-live": "polite" });
    const shape = make("select", { "aria-label": "Shape of the cortex" }, ...Object.keys(geometry.shapes).map((s) => make("option", { value: s }, s)));
    const buttons = Object.keys(VIEWS).map((view) => make("button", { type: "button", "data-view": view }, view));
    const controls = make("div", { class: "controls" },
      make("label", { class: "step" }, make("span", {}, "Map"), slider, shown),
      make("div", { class: "views", role: "group", "aria-label": "View" }, ...buttons, shape));
    const keys = make("p", { class: "note", id: `${place.id}-keys` },
      "Drag to turn, or use the arrow keys on the picture; + and − zoom, Home looks from the side again. Point at the cortex to read a value.");
    if (maps.length < 2) controls.firstChild.hidden = true;

    const resize = () => {
      const width = place.clientWidth, ratio = Math.min(window.devicePixelRatio || 1, 2);
      const height = width < 560 ? width * 1.3 : Math.min(width * 0.4, 440);
      canvas.style.height = `${height}px`;
      [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
      draw();
    };
    const draw = () => drawer.draw(boxes(canvas), state);
    const show = (map) => {
      state.map = map;
      HEMISPHERES.forEach((h) => drawer.colour(h, painted(maps[map][h], geometry.sulci[h], colours)));
      shown.textContent = data.names[map];
      slider.setAttribute("aria-valuetext", data.names[map]);
      canvas.setAttribute("aria-label", `${data.label}, ${data.names[map]}, on both hemispheres`);
      draw();
    };
    const turn = (yaw, pitch) => {
      state.yaw = (yaw + 540) % 360 - 180;
      state.pitch = Math.max(-90, Math.min(90, pitch));
      draw();
    };
    const zoom = (factor) => { state.zoom = Math.max(0.6, Math.min(5, state.zoom * factor)); draw(); };

    slider.addEventListener("input", () => show(Number(slider.value)));
    shape.addEventListener("change", () => { state.shape = shape.value; drawer.shape(shape.value); draw(); });
    buttons.forEach((button) => button.addEventListener("click", () => { state.zoom = 1; turn(...VIEWS[button.dataset.view]); }));
    canvas.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, 10], ArrowDown: [0, -10] }[event.key];
      if (moves) turn(state.yaw + moves[0], state.pitch + moves[1]);
      else if (event.key === "+" || event.key === "=") zoom(1.15);
      else if (event.key === "-") zoom(1 / 1.15);
      else if (event.key === "Home") { state.zoom = 1; turn(...VIEWS.lateral); }
      else return;
      event.preventDefault();
    });

    let drag = null;
    canvas.addEventListener("pointerdown", (event) => {
      drag = { x: event.clientX, y: event.clientY, yaw: state.yaw, pitch: state.pitch };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!drag) { value.textContent = reading(event); return; }
      const side = boxAt(event).hemisphere === "left" ? 1 : -1;
      turn(drag.yaw + side * 0.5 * (event.clientX - drag.x), drag.pitch + 0.5 * (event.clientY - drag.y));
    });
    ["pointerup", "pointercancel"].forEach((name) => canvas.addEventListener(name, () => { drag = null; }));
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      zoom(Math.exp(-event.deltaY / 300));
      event.preventDefault();
    }, { passive: false });

    const pixel = (event) => {
      const frame = canvas.getBoundingClientRect(), ratio = canvas.width / frame.width;
      return [(event.clientX - frame.left) * ratio, canvas.height - (event.clientY - frame.top) * ratio];
    };
    const boxAt = (event) => {
      const [x, y] = pixel(event), all = boxes(canvas);
      return all.find((b) => x >= b.x && x <= b.x + b.width && y >= b.y && y <= b.y + b.height) || all[0];
    };
    /* The nearest vertex that faces the eye: enough at ten thousand vertices. */
    const reading = (event) => {
      const [x, y] = pixel(event), box = boxAt(event);
      const [right, up, eye] = turning(state.yaw, state.pitch, box.hemisphere);
      const { position, normal } = geometry.shapes[state.shape][box.hemisphere];
      const size = scaling(box.width, box.height, state.zoom);
      const aim = [(2 * (x - box.x) - box.width) / size, (2 * (y - box.y) - box.height) / size];
      const dot = (a, i, b) => a[i] * b[0] + a[i + 1] * b[1] + a[i + 2] * b[2];
      let best = -1, depth = -Infinity;
      for (let i = 0; i < position.length; i += 3) {
        if (Math.hypot(dot(position, i, right) - aim[0], dot(position, i, up) - aim[1]) > 0.02 || dot(normal, i, eye) < 0) continue;
        if (dot(position, i, eye) > depth) { depth = dot(position, i, eye); best = i / 3; }
      }
      if (best < 0) return "";
      const step = maps[state.map][box.hemisphere][best], [low, high] = data.limits;
      const text = step ? (low + (step - 1) / 254 * (high - low)).toFixed(2).replace("-", "−") : "n/a";
      return `${box.hemisphere} hemisphere, vertex ${best}: ${text}`;
    };

    const still = place.querySelector(".still");
    still.classList.add("replaced");
    place.append(canvas, legend(data, colours), value, controls, keys);
    drawer.shape(state.shape);
    show(data.first);
    new ResizeObserver(resize).observe(place);
    resize();
  }

  function legend(data, colours) {
    const bar = make("canvas", { width: 255, height: 1, class: "bar", "aria-hidden": "true" });
    const context = bar.getContext("2d"), image = context.createImageData(255, 1);
    for (let i = 0; i < 255; i++) image.data.set([colours[3 * i], colours[3 * i + 1], colours[3 * i + 2], 255], 4 * i);
    context.putImageData(image, 0, 0);
    const ends = data.limits.map((v) => make("span", {}, v.toFixed(2).replace("-", "−")));
    return make("p", { class: "legend" }, make("span", { class: "what" }, data.label), make("span", { class: "scale" }, ends[0], bar, ends[1]), make("span", { class: "none" }, "grey: n/a"));
  }

  document.querySelectorAll(".surface").forEach(viewer);
})();
