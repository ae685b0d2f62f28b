// Filters, orders and pages the translations of all sentences, which stand in the page as data.
for (const root of document.querySelectorAll(".explorer")) {
  const { models, sets, sentences } = JSON.parse(root.querySelector("script").textContent);
  const form = root.querySelector("form");
  const list = root.querySelector(".found");
  const status = root.querySelector("[role=status]");
  const pages = root.querySelector(".pages");
  const [previous, next] = pages.querySelectorAll("button");
  const blank = root.querySelector("template").content.querySelector("article");
  const size = 10;
  let chosen = [];
  let first = 0;

  function choose() {
    const fields = new FormData(form);
    const set = fields.get("set") ?? "";
    const [low, high] = (fields.get("bin") || "0-Infinity").split("-").map(Number);
    const text = fields.get("text").trim().toLowerCase();
    const shown = new Set(fields.getAll("model").map(Number));
    const has = (part) => part.toLowerCase().includes(text);
    chosen = [];
    for (const [place, id, words, source, reference, every] of sentences) {
      if ((set !== "" && place !== Number(set)) || words < low || words > high) continue;
      const said = every.filter(([model]) => shown.has(model));
      if (!said.length || (fields.has("attention") && !said.some((one) => one[4]))) continue;
      if (text && !has(source) && !has(reference) && !said.some((one) => has(one[1]))) continue;
      chosen.push({ title: `${sets[place]}, sentence ${id}: ${words} words`, words, source, reference, every, said });
    }
    const order = fields.get("order");
    if (order === "words") chosen.sort((a, b) => a.words - b.words);
    if (order === "differ") chosen.sort((a, b) => spread(b.said) - spread(a.said));
    first = 0;
    show(fields.get("against"));
  }

  function show(against) {
    const last = Math.min(first + size, chosen.length);
    list.replaceChildren(...chosen.slice(first, last).map((sentence) => article(sentence, against)));
    status.textContent = chosen.length
      ? `Sentences ${first + 1} to ${last} of ${chosen.length.toLocaleString("en")}`
      : "No sentence is like that.";
    pages.hidden = chosen.length <= size;
    previous.disabled = first === 0;
    next.disabled = last === chosen.length;
  }

  function article({ title, source, reference, every, said }, against) {
    const copy = blank.cloneNode(true);
    copy.querySelector("h3").textContent = title;
    const [first, second] = copy.querySelectorAll(".given dd");
    first.textContent = source;
    second.textContent = reference;
    const other = every.find(([model]) => String(model) === against)?.[1] ?? reference;
    const line = copy.querySelector(".said");
    for (const [model, hypothesis, bleu, chrf, attention] of said) {
      const own = line.cloneNode(true);
      const colour = `var(--series-${models[model].colour})`;
      own.querySelector("i").style.background = colour;
      own.querySelector("dt").append(models[model].label);
      if (hypothesis) own.querySelector("dd").replaceChildren(...marked(hypothesis, other));
      own.querySelector(".scores").textContent = [["BLEU", bleu], ["chrF", chrf]]
        .filter(([, score]) => score != null)
        .map(([name, score]) => `${name} ${score.toFixed(1)}`)
        .join(", ");
      const fold = own.querySelector(".attention");
      if (attention) {
        const table = fold.querySelector("table");
        table.style.setProperty("--heat", colour);
        fold.querySelector(".scroll").ariaLabel = `Attention of ${models[model].label}: ${title}`;
        fold.querySelector("details").addEventListener("toggle", () => heat(table, attention), { once: true });
      } else fold.remove();
      line.before(own);
    }
    line.remove();
    return copy;
  }

  function turn(step) {
    first += step;
    show(new FormData(form).get("against"));
    status.focus();
  }
  previous.addEventListener("click", () => turn(-size));
  next.addEventListener("click", () => turn(size));
  form.addEventListener("input", choose);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = status.hidden = false;
  for (const note of document.querySelectorAll(".static")) note.hidden = true;
  choose();
}

// How far apart the models' chrF is.
function spread(said) {
  const scores = said.map((one) => one[3] ?? 0);
  return Math.max(...scores) - Math.min(...scores);
}

// The words of a text as nodes; marked are those outside its longest common subsequence with the other text.
function marked(text, other) {
  const ours = text.split(" ");
  const theirs = other.split(" ");
  const common = Array.from({ length: ours.length + 1 }, () => new Uint16Array(theirs.length + 1));
  for (let i = ours.length - 1; i >= 0; i--)
    for (let j = theirs.length - 1; j >= 0; j--)
      common[i][j] =
        ours[i] === theirs[j] ? 1 + common[i + 1][j + 1] : Math.max(common[i + 1][j], common[i][j + 1]);
  const nodes = [];
  let run = null;
  for (let i = 0, j = 0; i < ours.length; i++) {
    while (j < theirs.length && ours[i] !== theirs[j] && common[i][j + 1] === common[i][j]) j++;
    const space = i ? " " : "";
    if (j < theirs.length && ours[i] === theirs[j]) {
      j++;
      run = null;
      nodes.push(space + ours[i]);
    } else if (run) run.append(space + ours[i]);
    else {
      run = document.createElement("mark");
      run.append(ours[i]);
      nodes.push(space, run);
    }
  }
  return nodes;
}

// Fills the table of one translation's attention: source words across, its own words down.
function heat(table, { source, target, weights }) {
  const cell = (name, text, row) => {
    const made = document.createElement(name);
    made.textContent = text;
    row.append(made);
    return made;
  };
  for (const word of [...source, "(end)"]) cell("th", word, table.tHead.rows[0]).scope = "col";
  [...target, "(end)"].forEach((word, place) => {
    const row = table.tBodies[0].insertRow();
    cell("th", word, row).scope = "row";
    for (const weight of weights[place])
      cell("td", weight < 5 ? "" : weight, row).style.setProperty("--weight", weight);
  });
}
