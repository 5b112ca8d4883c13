'use strict';
// The timeline: uPlot keeps the scale of time, its axis and the canvas; a hook draws the ops that a pixel can show.
const ROW = 22;
// between lines of the axis: round in the unit that a person reads
const ROUND = (size, powers) => powers.flatMap(p => [1, 2, 5].map(n => n * 10 ** p * size));
const STEPS_OF_TIME = [...ROUND(1, [-15, -14, -13, -12, -11, -10, -9, -8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2]), ...ROUND(3600, [0, 1]), ...ROUND(86400, [1, 2, 3, 4, 5])];
// little-endian integers of one, two or four bytes in base64
function column([width, text]) {
  const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
  return width === 1 ? bytes : new (width === 2 ? Uint16Array : Uint32Array)(bytes.buffer);
}

// The columns of a plan's ops, and for each GPU its ops in the order of time.
function unpack(plan) {
  const o = plan.ops, ticks = column(o.start), scale = plan.makespan[0] / 0xffffffff;
  for (const name of ['lane', 'work', 'name', 'layer', 'piece', 'path']) o[name] = column(o[name]);
  o.start = Float64Array.from(ticks, t => t * scale);
  o.end = o.start.map((start, n) => start + o.works[o.work[n]][2][0]);
  const rows = Array.from({length: plan.gpus}, () => []);
  for (let n = 0; n < o.count; n++) if (o.end[n] > o.start[n]) for (const gpu of o.lanes[o.lane[n]]) rows[gpu].push(n);
  o.rows = rows.map(row => Uint32Array.from(row).sort((a, b) => o.start[a] - o.start[b]));
  o.critical = new Uint8Array(o.count);
  for (const n of o.path) o.critical[n] = 1;
  o.walk = Array.from(o.path).filter(n => o.end[n] > o.start[n]);
  return o;
}

// The first op of a row that ends after `time`: the ops of a GPU follow one another.
function firstAfter(ops, row, time) {
  let a = 0, b = row.length;
  while (a < b) { const m = (a + b) >> 1; if (ops.end[row[m]] <= time) a = m + 1; else b = m; }
  return a;
}

class Timeline {
  constructor(place, kinds, onPick) {
    Object.assign(this, {place, kinds, onPick, picked: -1});
    const down = new Map();
    let dragged = 0;
    place.addEventListener('wheel', e => {
      e.preventDefault();
      const along = e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY);
      if (along) this.move((e.deltaX || e.deltaY) / 800); else this.zoom(Math.exp(e.deltaY / 400), this.share(e));
    }, {passive: false});
    place.addEventListener('pointerdown', e => { place.setPointerCapture(e.pointerId); down.set(e.pointerId, e); dragged = down.size > 1 ? 99 : 0; });
    place.addEventListener('pointermove', e => {
      const before = down.get(e.pointerId);
      if (!before) return;
      if (down.size === 2) {
        const other = [...down.values()].find(x => x.pointerId !== e.pointerId);
        const was = Math.abs(before.clientX - other.clientX), is = Math.abs(e.clientX - other.clientX);
        if (was > 8 && is > 8) this.zoom(was / is, (this.share(e) + this.share(other)) / 2);
      } else { dragged += Math.abs(e.clientX - before.clientX); this.move(this.share(before) - this.share(e)); }
      down.set(e.pointerId, e);
    });
    place.addEventListener('pointercancel', e => down.delete(e.pointerId));
    place.addEventListener('pointerup', e => { down.delete(e.pointerId); if (dragged <= 4) this.click(e); });
    place.addEventListener('keydown', e => {
      const keys = {ArrowLeft: () => this.move(-.2), ArrowRight: () => this.move(.2), '+': () => this.zoom(.6), '=': () => this.zoom(.6),
        '-': () => this.zoom(1.6), '0': () => this.whole(), n: () => this.along(1), p: () => this.along(-1),
        ArrowUp: () => this.beside(-1), ArrowDown: () => this.beside(1), ',': () => this.beside(0, -1), '.': () => this.beside(0, 1)};
      if (keys[e.key] && !e.ctrlKey && !e.metaKey && !e.altKey) { e.preventDefault(); keys[e.key](); }
    });
    new ResizeObserver(() => this.plot && this.plot.width !== place.clientWidth && this.plot.setSize({width: place.clientWidth, height: this.plot.height})).observe(place);
  }

  show(plan) {
    if (this.plot) this.plot.destroy();
    this.plan = plan;
    this.ops = plan.ops.rows ? plan.ops : unpack(plan);
    this.picked = -1;
    const end = plan.makespan[0] || 1e-9, narrow = this.place.clientWidth < 600;
    const axis = {stroke: () => ink('--faint'), grid: {stroke: () => ink('--grid'), width: 1}, ticks: {show: false}, font: '11px ui-sans-serif,system-ui,sans-serif'};
    this.plot = new uPlot({
      width: this.place.clientWidth, height: 30 + ROW * plan.gpus, padding: [0, 10, 0, 0], legend: {show: false},
      cursor: {show: false}, series: [{}, {paths: () => null, points: {show: false}}],
      scales: {x: {time: false, range: (u, a, b) => [a, b]}, y: {range: [0, plan.gpus], dir: -1}},
      axes: [{...axis, side: 0, size: 28, space: 90, incrs: STEPS_OF_TIME, values: (u, at, axis, space, step) => at.map(t => t === 0 ? '0' : moment(t, step, u.scales.x.max))},
        {...axis, size: narrow ? 30 : 58, gap: 4, grid: {show: false}, splits: () => Array.from({length: plan.gpus}, (_, g) => g + .5), values: (u, at) => at.map(g => (narrow ? '' : 'GPU ') + (g - .5))}],
      hooks: {draw: [u => this.draw(u)]},
    }, [[0, end], [0, 0]], this.place);
    this.whole();
    this.pick(this.ops.walk[0] ?? -1);
  }

  draw(u) {
    const {ctx, bbox} = u, {ops, kinds} = this, d = devicePixelRatio || 1, {min, max} = u.scales.x;
    const scale = bbox.width / (max - min), height = bbox.height / ops.rows.length, right = bbox.left + bbox.width;
    ctx.save();
    ctx.beginPath(); ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height); ctx.clip();
    ctx.font = 11 * d + 'px ui-sans-serif,system-ui,sans-serif'; ctx.textBaseline = 'middle'; ctx.textAlign = 'center';
    const critical = ink('--critical');
    const box = height - 2 * d;
    ops.rows.forEach((row, gpu) => {
      const y = bbox.top + gpu * height + d;
      const fill = (x, e, kind, marked) => {
        ctx.fillStyle = kinds[kind][1]; ctx.fillRect(x, y, e - x, box);
        if (marked) { ctx.fillStyle = critical; ctx.fillRect(x, y + box - 3 * d, e - x, 3 * d); }
      };
      // of ops within one pixel the longest gives the colour, and pixels of one colour are one box
      let pixel = -1, longest = 0, kind = 0, marked = 0, run = null;
      const end = () => { if (run) fill(...run); run = null; };
      const next = () => {
        if (pixel >= 0 && run && run[1] === pixel && run[2] === kind && run[3] === marked) run[1]++;
        else if (pixel >= 0) { end(); run = [pixel, pixel + 1, kind, marked]; }
        pixel = -1; longest = 0; marked = 0;
      };
      for (let i = firstAfter(ops, row, min); i < row.length && ops.start[row[i]] < max; i++) {
        const n = row[i], of = ops.works[ops.work[n]][0], lasts = ops.end[n] - ops.start[n];
        const x = Math.max(bbox.left, bbox.left + (ops.start[n] - min) * scale), e = Math.min(right, bbox.left + (ops.end[n] - min) * scale);
        if (e - x < 1.5) {
          if (Math.floor(x) !== pixel) { next(); pixel = Math.floor(x); }
          if (lasts > longest) { longest = lasts; kind = of; }
          marked |= ops.critical[n];
          continue;
        }
        next(); end();
        fill(x, e, of, ops.critical[n]);
        if (e - x > 4 * d) { ctx.fillStyle = ink('--page'); ctx.fillRect(e - d / 2, y, d / 2, box); }
        const text = ops.names[ops.name[n]];
        if (e - x > (text.length * 6.4 + 6) * d) { ctx.fillStyle = '#1b1b1b'; ctx.fillText(text, (x + e) / 2, y + box / 2 - d); }
      }
      next(); end();
    });
    const n = this.picked;
    if (n >= 0) for (const gpu of ops.lanes[ops.lane[n]]) {
      const x = bbox.left + (ops.start[n] - min) * scale, w = Math.max(2 * d, (ops.end[n] - ops.start[n]) * scale);
      ctx.strokeStyle = ink('--ink'); ctx.lineWidth = 2 * d; ctx.strokeRect(x, bbox.top + gpu * height + d, w, height - 2 * d);
    }
    ctx.restore();
  }

  // Where between the ends of the axis an event is, from 0 to 1.
  share(e) {
    const r = this.plot.over.getBoundingClientRect();
    return Math.min(1, Math.max(0, (e.clientX - r.left) / r.width));
  }

  view(from, width) {
    const end = this.plan.makespan[0] || 1e-9;
    width = Math.min(end, Math.max(end * 1e-6, width));
    from = Math.min(end - width, Math.max(0, from));
    this.plot.setScale('x', {min: from, max: from + width});
  }
  whole() { this.view(0, Infinity); }
  zoom(factor, at = .5) { const {min, max} = this.plot.scales.x, w = max - min; this.view(min + w * at * (1 - factor), w * factor); }
  move(part) { const {min, max} = this.plot.scales.x; this.view(min + (max - min) * part, max - min); }

  at(gpu, time) {
    const row = this.ops.rows[gpu], n = row && row[firstAfter(this.ops, row, time)];
    return n !== undefined && this.ops.start[n] <= time ? n : -1;
  }
  click(e) {
    const r = this.plot.over.getBoundingClientRect(), {min, max} = this.plot.scales.x;
    const gpu = Math.floor((e.clientY - r.top) / r.height * this.plan.gpus);
    if (gpu >= 0 && gpu < this.plan.gpus) { this.gpu = gpu; this.pick(this.at(gpu, min + (max - min) * this.share(e))); }
  }
  pick(n) {
    this.picked = n;
    if (n >= 0 && !this.ops.lanes[this.ops.lane[n]].includes(this.gpu)) this.gpu = this.ops.lanes[this.ops.lane[n]][0];
    this.onPick(this.plan, n);
    this.plot.redraw(false);
  }
  // Picks an op and brings it into view.
  go(n) {
    const {min, max} = this.plot.scales.x, {start, end} = this.ops;
    if (start[n] < min || end[n] > max) this.view((start[n] + end[n] - (max - min)) / 2, max - min);
    this.pick(n);
  }
  along(step) {
    const {walk} = this.ops, i = walk.indexOf(this.picked);
    if (walk.length) this.go(walk[i < 0 ? (step > 0 ? 0 : walk.length - 1) : (i + step + walk.length) % walk.length]);
  }
  // To the op that runs at the same time on another GPU, or to the one before or after on the same.
  beside(gpus, ops = 0) {
    if (this.picked < 0) return this.along(1);
    const middle = (this.ops.start[this.picked] + this.ops.end[this.picked]) / 2;
    for (let gpu = this.gpu + gpus; gpus && gpu >= 0 && gpu < this.plan.gpus; gpu += gpus) {
      const n = this.at(gpu, middle);
      if (n >= 0 && n !== this.picked) { this.gpu = gpu; return this.go(n); }
    }
    const row = this.ops.rows[this.gpu], n = row[row.indexOf(this.picked) + ops];
    if (ops && n !== undefined) this.go(n);
  }
}
