// The search of the site: whole words and their beginnings count, not letters in a row.
// It stands in for Fuse, with the part of its interface that the pages use.
window.Fuse = class {
  constructor(entries) {
    this.entries = entries.map((item) => ({
      item, title: item.title.toLowerCase(), section: item.section.toLowerCase(),
      text: item.text.toLowerCase(),
    }));
  }

  // How well an entry answers one word: where the word stands, and how often for the length.
  static points({ title, section, text }, word) {
    const begins = (field) => (" " + field.replace(/[^\p{L}\p{N}]+/gu, " ")).split(" " + word).length - 1;
    const often = begins(text);
    return 6 * Math.min(begins(title), 1) + 4 * Math.min(begins(section), 1)
      + 3 * often / (often + 1 + text.length / 1500);
  }

  search(query, { limit }) {
    const words = query.toLowerCase().split(/[^\p{L}\p{N}]+/u).filter(Boolean);
    const found = [];
    for (const entry of this.entries) {
      const each = words.map((word) => Fuse.points(entry, word));
      if (!each.length || each.includes(0)) continue;
      // What explains goes before what lists: pages of tasks and words, and the head of a page.
      const { href, section } = entry.item;
      const plain = /^(howto|tutorials)\/|^(glossary|method)\b/.test(href) ? 1.5 : 1;
      const listed = /^(api|benchmarks|CHANGELOG)\b/.test(href) ? 0.4 : 1;
      const head = section === "" ? 1.5 : /^\w*_\w*$/.test(section) ? 0.7 : 1;  // 0.7: a function
      found.push({ item: entry.item, score: plain * listed * head * each.reduce((a, b) => a + b) });
    }
    found.sort((a, b) => b.score - a.score);
    const seen = {};  // two finds of a page at most
    return found.filter(({ item }) => {
      const page = item.href.split("#")[0];
      return (seen[page] = (seen[page] || 0) + 1) <= 2;
    }).slice(0, limit);
  }
};
