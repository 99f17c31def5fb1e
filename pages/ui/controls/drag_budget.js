// The element of drag_budget.py. A table holds what each budget selects, so a drag is drawn without the server;
// at rest, what the server selected is drawn.

const views = new WeakMap();
const STAY_MS = 1500; // the panel stays so long after the last answer

export default function ({ data, parentElement, setTriggerValue }) {
    if (!views.has(parentElement)) views.set(parentElement, new View(parentElement));
    const view = views.get(parentElement);
    view.report = (moved) => setTriggerValue("moved", moved);
    view.receive(data);
    return () => view.close();
}

class View {
    constructor(root) {
        this.find = (selector) => root.querySelector(selector);
        this.input = this.find("input");
        this.panel = this.find(".panel");
        this.dragged = false; // the pointer holds the thumb
        this.keyed = false; // the last move came from the keyboard
        this.moved = false; // since the server's last answer
        this.rest = undefined; // timer: keys are resting
        this.input.onpointerdown = () => {
            this.keyed = false;
            this.dragged = true;
            const released = () => {
                removeEventListener("pointerup", released, true);
                removeEventListener("pointercancel", released, true);
                setTimeout(() => this.release()); // after the input's own event
            };
            addEventListener("pointerup", released, true);
            addEventListener("pointercancel", released, true);
        };
        this.input.onkeydown = (event) => {
            this.keyed = true;
            if (event.key === "Escape") this.panel.hidden = true;
        };
        this.input.oninput = () => this.move();
        this.input.onchange = () => this.keyed || this.dragged || this.release(); // set by other software
        this.input.onblur = () => this.rest !== undefined && this.release();
    }

    async receive(data) {
        this.latest = data;
        const table = data.table === this.packed ? this.newest : await unpack(data.table);
        if (this.latest !== data) return;
        [this.packed, this.newest, this.pause] = [data.table, table, data.rest];
        if (!this.dragged && this.rest === undefined) this.settle();
    }

    // Draw what the server selected.
    settle() {
        if (JSON.stringify(this.latest.now) === this.before) return; // not answered yet
        [this.before, this.moved, this.table] = [undefined, false, this.newest];
        this.input.max = this.table.amount.length - 1;
        this.input.value = nearest(this.table.amount, this.latest.now.amount);
        this.draw(this.latest.now);
        this.hideLater();
    }

    // Draw what the budget under the thumb would select.
    move() {
        if (!this.table) return;
        clearTimeout(this.hiding);
        this.moved = true;
        this.panel.hidden = !(this.table.bins || this.table.tasks);
        this.draw(entry(this.table, Number(this.input.value)));
        if (!this.keyed) return;
        clearTimeout(this.rest);
        this.rest = setTimeout(() => this.release(), this.pause);
    }

    release() {
        clearTimeout(this.rest);
        [this.dragged, this.rest] = [false, undefined];
        if (!this.table) return;
        const amount = this.table.amount[Number(this.input.value)];
        if (!this.moved || amount === this.latest.now.amount) return this.settle();
        this.before = JSON.stringify(this.latest.now);
        this.report({ amount, unit: this.table.unit });
    }

    hideLater() {
        clearTimeout(this.hiding);
        this.hiding = setTimeout(() => (this.panel.hidden = true), STAY_MS);
    }

    draw(now) {
        const { unit, pool, title } = this.table;
        const amount = unit === "percent" ? `${now.amount}%` : count(now.amount);
        const facts = [`${count(now.rows)} ${now.rows === 1 ? "row" : "rows"}`];
        if (pool.tokens) facts.push(`${count(now.tokens)} tokens`);
        if (now.cutoff) facts.push(`cutoff ${now.cutoff}`);
        this.find("output").textContent = amount;
        this.find(".facts").textContent = this.find(".facts").title = facts.join(" · ");
        this.input.setAttribute("aria-valuetext", `${amount}: ${facts.join(", ")}`);
        this.input.style.setProperty("--filled", `${(100 * this.input.value) / Math.max(this.input.max, 1)}%`);
        this.find(".scores .title").textContent = title;
        this.find(".scores").hidden = !now.bins;
        if (now.bins) this.drawScores(now, pool.bins);
        this.find(".tasks").hidden = !now.tasks;
        if (now.tasks) this.drawTasks(now, pool);
    }

    drawScores(now, all) {
        const top = Math.max(...all, 1);
        this.find("svg").setAttribute("viewBox", `0 0 ${all.length} ${top}`);
        this.find(".all").setAttribute("d", outline(all, top));
        this.find(".in").setAttribute("d", outline(now.bins, top));
        const cut = this.find(".plot > i");
        cut.hidden = now.place === null;
        cut.style.left = `${100 * now.place}%`;
    }

    drawTasks(now, pool) {
        const lines = this.find(".lines");
        const shares = now.tasks.map((rows) => rows / Math.max(now.rows, 1));
        const expected = pool.tasks.map((rows) => rows / pool.rows);
        const top = Math.max(...shares, ...expected.map((share) => 2 * share)); // bars keep their scale while they can
        this.table.names.forEach((name, k) => {
            const line = lines.children[k] ?? lines.appendChild(newLine());
            const [label, bar, text] = line.children;
            label.textContent = line.title = name;
            bar.children[0].style.width = `${(100 * shares[k]) / top}%`;
            bar.children[1].style.left = `${(100 * expected[k]) / top}%`;
            text.textContent = percent(shares[k]);
        });
        while (lines.children.length > this.table.names.length) lines.lastChild.remove();
    }

    close() {
        clearTimeout(this.rest);
        clearTimeout(this.hiding);
    }
}

async function unpack(packed) {
    const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
    const table = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).json();
    for (const name of ["rows", "tokens"]) accumulate(table[name]);
    for (const name of ["bins", "tasks"]) table[name]?.forEach(accumulate);
    return table;
}

function accumulate(steps) {
    for (let i = 1; i < steps.length; i++) steps[i] += steps[i - 1];
}

function entry(table, i) {
    const { amount, rows, tokens, cutoff, place, bins, tasks } = table;
    const now = { amount: amount[i], rows: rows[i], tokens: tokens[i], cutoff: cutoff[i], place: place[i] };
    if (bins) now.bins = bins.map((counts) => counts[i]);
    if (tasks) now.tasks = tasks.map((counts) => counts[i]);
    return now;
}

function nearest(amounts, amount) {
    const next = amounts.findIndex((one) => one >= amount);
    if (next < 1) return next < 0 ? amounts.length - 1 : 0;
    return amounts[next] - amount < amount - amounts[next - 1] ? next : next - 1;
}

function outline(counts, top) {
    return `M0,${top}${counts.map((rows, i) => `V${top - rows}H${i + 1}`).join("")}V${top}Z`;
}

function newLine() {
    const line = document.createElement("div");
    line.innerHTML = "<span></span><b><i></i><i></i></b><span></span>"; // text comes later, as text
    return line;
}

function count(number) {
    return number.toLocaleString("en-US");
}

// One digit, as Python rounds: to the even one if both are equally near.
function percent(share) {
    const value = 100 * share;
    return value ? `${(value % 1 === 0.25 ? value - 0.05 : value).toFixed(1)}%` : "0%";
}
