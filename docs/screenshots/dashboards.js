// What is where in TensorBoard's pages, through the shadows of its elements.

const find = (selector, root = document) => {
  const found = [];
  for (const one of root.querySelectorAll("*")) {
    if (one.matches(selector)) found.push(one);
    if (one.shadowRoot) found.push(...find(selector, one.shadowRoot));
  }
  return found;
};

// Scrolled to where it is seen
const box = (one) => {
  one.scrollIntoView({ block: "center" });
  const { x, y, width, height } = one.getBoundingClientRect();
  return [x, y, width, height];
};

// The page Custom Scalars: charts in groups, which are open or closed

const group = (name) =>
  find("tf-category-paginated-view").find((one) => one.category.name === name);

const open = (name) => {
  if (!group(name).opened) {
    find("button.heading", group(name).shadowRoot)[0].click();
  }
};

const cards = (root = document) =>
  find("tf-custom-scalar-multi-line-chart-card", root);

const chart = (name, title) =>
  cards(group(name)).find(
    (one) => find("tf-card-heading", one.shadowRoot)[0].displayName === title,
  );

const isDrawn = (name, title) =>
  find(".match-list-entry", chart(name, title).shadowRoot).length > 0 &&
  find("tf-line-chart-data-loader", chart(name, title).shadowRoot).every(
    (one) => !one.dataLoading,
  );

// The names of its curves are shown, its buttons are not.
const unfold = (name, title, isLogarithmic) => {
  const inside = chart(name, title).shadowRoot;
  inside.querySelector(".toggle-matches-button").click();
  if (isLogarithmic) {
    inside.querySelector("[title='Toggle y-axis log scale']").click();
  }
  inside.querySelector("#buttons").style.display = "none";
  inside.querySelector("#matches-list-title").style.display = "none";
};

const smooth = (weight) => {
  find("tf-custom-scalar-dashboard")[0]._smoothingWeight = weight;
};
