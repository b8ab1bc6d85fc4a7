// Sorts and filters the list of findings. The page is complete without it.
"use strict";
{
  const list = document.querySelector(".findings");
  if (list) {
    const items = Array.from(list.children);
    const [search, kind, state, order, shown] = ["search", "class", "state", "order", "shown"].map((id) => document.getElementById(id));
    const texts = new Map(items.map((item) => [item, item.textContent.toLowerCase()]));
    const rank = (a, b) => a.dataset.rank - b.dataset.rank;
    const orders = {
      rank,
      count: (a, b) => b.dataset.count - a.dataset.count || rank(a, b),
      class: (a, b) => a.dataset.class.localeCompare(b.dataset.class) || rank(a, b),
      consumer: (a, b) => a.dataset.consumer.localeCompare(b.dataset.consumer) || rank(a, b),
      producer: (a, b) => a.dataset.producer.localeCompare(b.dataset.producer) || rank(a, b),
    };
    const update = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let visible = 0;
      for (const item of items) {
        const fits = (!kind.value || item.dataset.class === kind.value)
          && (!state.value || item.dataset.state === state.value)
          && words.every((word) => texts.get(item).includes(word));
        item.hidden = !fits;
        visible += fits;
      }
      list.append(...items.slice().sort(orders[order.value]));
      shown.value = visible === items.length ? `${visible} shown` : `${visible} of ${items.length} shown`;
      // What is shown is in the address, so that it can be sent to somebody.
      const chosen = new URLSearchParams([search, kind, state, order].filter((field) => field.value && field.value !== "rank").map((field) => [field.id, field.value]));
      try { history.replaceState(null, "", "#" + chosen); } catch { /* not where the file is embedded */ }
    };
    for (const [id, value] of new URLSearchParams(location.hash.slice(1))) {
      const field = [search, kind, state, order].find((candidate) => candidate.id === id);
      if (field) field.value = value;
    }
    const form = search.form;
    form.hidden = false;
    form.addEventListener("input", update);
    form.addEventListener("submit", (event) => event.preventDefault());
    update();
  }
}
