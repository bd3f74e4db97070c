// Unpacks the library, and draws each figure in the colours of the page: again when these change.
(async () => {
  const places = [...document.querySelectorAll("[data-plot]")];
  const fail = (why) => places.forEach((place) => {
    place.style.height = "auto";
    place.textContent = `${place.getAttribute("aria-label")} (not drawn: ${why})`;
  });
  const unpack = async (text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };
  if (!places.length) return;
  if (typeof DecompressionStream === "undefined") return fail("this browser is older than 2023");
  try {
    const program = document.createElement("script");
    program.textContent = await unpack(document.getElementById("library").textContent.trim());
    document.head.append(program);
  } catch (error) {
    return fail(String(error));
  }
  const isColour = (key) => /color$/i.test(key);
  const paint = (value, style, inColour) => {
    if (Array.isArray(value)) return value.map((each) => paint(each, style, inColour));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, paint(each, style, isColour(key))]));
    }
    const name = inColour && typeof value === "string" && value.match(/^@(\w+)(?:\/([\d.]+))?$/);
    if (!name) return value;
    const colour = style.getPropertyValue(`--${name[1]}`).trim();
    return name[2] ? colour + Math.round(255 * name[2]).toString(16).padStart(2, "0") : colour;
  };
  const draw = (place) => {
    const style = getComputedStyle(document.documentElement);
    const figure = paint(JSON.parse(place.nextElementSibling.textContent), style, false);
    const axis = { gridcolor: style.getPropertyValue("--line"), zeroline: false, automargin: true, fixedrange: true };
    const layout = { margin: { l: 8, r: 8, t: 8, b: 8 }, paper_bgcolor: "transparent", plot_bgcolor: "transparent",
      font: { color: style.getPropertyValue("--ink"), size: 12, family: "system-ui, 'DejaVu Sans', sans-serif" },
      legend: { orientation: "h", y: place.clientWidth < 500 ? -0.28 : -0.18, yanchor: "top", x: 0 }, showlegend: false,
      hoverlabel: { namelength: -1 }, ...figure.layout };
    for (const name of Object.keys({ xaxis: 0, yaxis: 0, ...figure.layout }).filter((key) => /^[xy]axis/.test(key))) {
      layout[name] = { ...axis, ...layout[name] };
    }
    return Plotly.react(place, figure.data, layout, { displayModeBar: false, responsive: true });
  };
  const drawAll = async () => {
    for (const place of places) {
      try {
        await draw(place);
        place.classList.add("drawn");
      } catch (error) {
        place.textContent = `${place.getAttribute("aria-label")} (not drawn: ${error})`;
      }
    }
    document.documentElement.classList.add("drawn");
  };
  await drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  document.querySelectorAll("details").forEach((each) => each.addEventListener("toggle", () => {
    each.querySelectorAll(".plot.drawn").forEach((place) => Plotly.Plots.resize(place));
  }));
})();
