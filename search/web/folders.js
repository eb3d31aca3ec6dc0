// The library's folders, and the work of adding them.

import * as api from './api.js';
import { byId, dismiss, leave, node } from './node.js';
import { Work } from './work.js';
import { count, knows, say } from './words.js';

export class Library {
  /** changed(status): the library holds other pictures now; status: as the API answers. */
  constructor(changed) {
    this.changed = changed;
    this.dialog = byId('folders');
    this.works = new Map();
    byId('library').addEventListener('click', () => this.open());
    byId('folders-close').addEventListener('click', () => this.dialog.close());
    dismiss(this.dialog);
    byId('folder-form').addEventListener('submit', (event) => {
      event.preventDefault();
      const path = byId('folder-path').value.trim();
      if (path) this.#add(path);
    });
  }

  /** Show it; hold: what is known is taken as it is. */
  open() {
    if (!this.dialog.open) this.dialog.showModal();
    byId('folder-path').focus();
    this.refresh().catch(() => {});
  }

  /** Ask what is in the library, and what is at work. */
  async refresh() {
    const [status, { jobs }] = await Promise.all([api.status(), api.jobs()]);
    this.#show(status);
    for (const job of jobs.reverse()) {
      if (job.kind === 'index' && ['queued', 'running'].includes(job.state)) this.#follow(job);
    }
    return status;
  }

  #show(status) {
    this.status = status;
    this.seen ??= held(status);
    byId('library-count').textContent = count(status.pictures);
    byId('library').setAttribute('aria-label', `${say('library')}, ${say('pictures', { n: status.pictures })}`);
    byId('library').title = say('library');
    const model = status.model ? [say('model', { name: status.model })] : [];
    byId('folders-summary').textContent = [say('pictures', { n: status.pictures }), ...model].join(' · ');
    const roots = status.roots.map((root) => this.#root(root));
    const path = document.activeElement.closest?.('#roots li')?.dataset.path;
    leave(byId('roots'), byId('folder-path'));
    byId('roots').replaceChildren(...(roots.length ? roots : [node('li', { class: 'none', text: say('no_folders') })]));
    roots.find((root) => path && root.dataset.path === path)?.querySelector('button').focus();
  }

  #root(root) {
    const files = say('files', { n: root.files });
    const about = root.state === 'online' ? files : `${files} · ${say('offline')}`;
    const label = say('sync_path', { path: root.path });
    return node(
      'li',
      { 'data-path': root.path },
      node('span', { class: 'path', title: root.path }, node('bdi', { text: root.path })),
      node('span', { class: 'about', text: about }),
      node('button', {
        type: 'button',
        class: 'quiet',
        text: say('sync'),
        'aria-label': label,
        click: () => this.#add(root.path),
      }),
    );
  }

  async #add(path) {
    const wrong = byId('folder-wrong');
    wrong.textContent = '';
    try {
      const { job } = await api.index(path);
      byId('folder-path').value = '';
      this.#follow(await api.job(job));
    } catch (error) {
      const title = knows(`problem_${error.status}`) ? say(`problem_${error.status}`) : say('problem');
      const detail = error.status === 0 ? say('problem_0_hint') : error.detail;
      wrong.textContent = detail ? `${title}: ${detail}` : title;
      byId('folder-path').focus();
    }
  }

  #follow(job) {
    if (this.works.has(job.id)) return;
    const work = new Work(job, {
      moved: () => this.#total(),
      over: async (report) => {
        this.#total();
        const status = await api.status();
        this.#show(status);
        if (held(status) === this.seen && !report?.moved) return;
        this.seen = held(status);
        this.changed(status);
      },
    });
    this.works.set(job.id, work);
    byId('works').prepend(work.element);
    byId('works-part').hidden = false;
    this.#total();
  }

  /** How far all of it is, on the button that opens this. */
  #total() {
    const going = [...this.works.values()].filter((work) => !work.isOver);
    const bar = byId('library-bar');
    bar.hidden = !going.length;
    if (going.length) bar.value = going.reduce((sum, work) => sum + work.share, 0) / going.length;
  }
}

/** What differs when the library holds other pictures. */
function held({ pictures, files, model, index }) {
  return JSON.stringify([pictures, files, model, index.generation]);
}
