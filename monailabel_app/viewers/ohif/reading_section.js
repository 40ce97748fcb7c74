// The way from a mammography exam to the reading room, and back to it.

/** Lead to the exam of the open study in the reading room; hidden for other studies. */
function showReadingRoom() {
  const link = panelState.root?.querySelector('.ml-reading');
  const study = shownExam();
  if (link) {
    link.hidden = !study;
    const url = new URL('reading', SERVER);
    url.hash = new URLSearchParams({ study });
    link.href = url;
  }
}

addSection({
  name: 'reading',
  title: 'Reading room',
  order: 55,
  build: () => {
    const title = 'Density exam by exam, by one key; second readers; agreement';
    const link = make('a', { class: 'ml-reading', title }, ['Reading room: all exams']);
    link.hidden = true;
    return link;
  },
  update: showReadingRoom,
});
