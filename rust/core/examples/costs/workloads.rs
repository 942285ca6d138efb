//! What is counted: one function a workload.

use pagemig_core::base::{NodeMask, PAGE_SIZE};
use pagemig_core::machine::{Machine, Request};
use pagemig_core::state::mapping::{Dirtying, FileSystem, Migrate, Write};

use crate::scene::{Scene, Work};

/// Pages of a workload; enough for many chunks of 169.
const PAGES: u64 = 4096;

type Prepare = fn() -> (Machine, Vec<Work>);

/// Every workload, by name.
pub(crate) const WORKLOADS: &[(&str, Prepare)] = &[
    ("move_address_order", move_address_order),
    ("move_random_order", move_random_order),
    ("move_with_bytes", move_with_bytes),
    ("move_file", || move_file(FileSystem::tmpfs())),
    ("move_file_with_buffers", || move_file(with_buffers())),
    ("move_shared_by_eight", move_shared_by_eight),
    ("move_one_page_often", move_one_page_often),
    ("move_stepped", move_stepped),
    ("stay", stay),
    ("pinned", pinned),
    ("migrate_pages", migrate_pages),
    ("query", query),
    ("first_touch", first_touch),
    ("touch_again", touch_again),
    ("swap_in", swap_in),
    ("fork", fork),
    ("copy_on_write", copy_on_write),
    ("munmap", munmap),
    ("exit", exit),
];

fn move_address_order() -> (Machine, Vec<Work>) {
    let scene = Scene::heap(PAGES);
    let request = scene.move_to(scene.addresses(), 1, false);
    scene.then(vec![request])
}

fn move_random_order() -> (Machine, Vec<Work>) {
    let scene = Scene::heap(PAGES);
    let request = scene.move_to(scene.shuffled(), 1, false);
    scene.then(vec![request])
}

fn move_with_bytes() -> (Machine, Vec<Work>) {
    let mut scene = Scene::new(PAGES / 4, true);
    scene.map();
    scene.run(scene.touch(true));
    let request = scene.move_to(scene.addresses(), 1, false);
    scene.then(vec![request])
}

fn move_file(kind: FileSystem) -> (Machine, Vec<Work>) {
    let scene = Scene::file(PAGES, kind);
    let request = scene.move_to(scene.addresses(), 1, false);
    scene.then(vec![request])
}

/// A filesystem with four buffers to a page.
fn with_buffers() -> FileSystem {
    FileSystem {
        name: "with buffers".into(),
        migrate: Migrate::Buffers,
        write: Write::Buffers,
        dirtying: Dirtying::Buffers,
        accounts_dirty: true,
        is_swap_backed: false,
        buffer_bytes: 1024,
        ..FileSystem::tmpfs()
    }
}

fn move_shared_by_eight() -> (Machine, Vec<Work>) {
    let mut scene = Scene::heap(PAGES / 4);
    for _ in 1..8 {
        scene.run(Request::Fork { name: "child".into() });
    }
    let request = scene.move_to(scene.addresses(), 1, true);
    scene.then(vec![request])
}

fn move_one_page_often() -> (Machine, Vec<Work>) {
    let scene = Scene::heap(16);
    let there_and_back = |round: u8| scene.move_to(vec![scene.start], 1 - round % 2, false);
    let requests = (0..200).map(there_and_back).collect();
    scene.then(requests)
}

fn move_stepped() -> (Machine, Vec<Work>) {
    let scene = Scene::heap(PAGES / 8);
    let request = scene.move_to(scene.addresses(), 1, false);
    (scene.machine, vec![Work::Stepped(scene.task, request)])
}

fn stay() -> (Machine, Vec<Work>) {
    let scene = Scene::heap(PAGES);
    let request = scene.move_to(scene.addresses(), 0, false);
    scene.then(vec![request])
}

fn pinned() -> (Machine, Vec<Work>) {
    let mut scene = Scene::heap(PAGES / 4);
    for address in scene.addresses() {
        scene.run(Request::Pin { address, is_write: true });
    }
    let request = scene.move_to(scene.addresses(), 1, false);
    scene.then(vec![request])
}

fn migrate_pages() -> (Machine, Vec<Work>) {
    let scene = Scene::heap(PAGES);
    let (from, to) = (NodeMask(1), NodeMask(2));
    let request = Request::MigratePages { target: scene.task, from, to, is_shared_too: false };
    scene.then(vec![request])
}

fn query() -> (Machine, Vec<Work>) {
    let scene = Scene::heap(PAGES);
    let request = scene.ask(scene.addresses());
    scene.then(vec![request])
}

fn first_touch() -> (Machine, Vec<Work>) {
    let mut scene = Scene::new(PAGES, false);
    scene.map();
    let request = scene.touch(true);
    scene.then(vec![request])
}

fn touch_again() -> (Machine, Vec<Work>) {
    let scene = Scene::heap(PAGES);
    let request = scene.touch(true);
    scene.then(vec![request])
}

fn swap_in() -> (Machine, Vec<Work>) {
    let mut scene = Scene::heap(PAGES / 4);
    scene.run(Request::Drain);
    for address in scene.addresses() {
        scene.run(Request::SwapOut { address });
    }
    let request = scene.touch(true);
    scene.then(vec![request])
}

fn fork() -> (Machine, Vec<Work>) {
    Scene::heap(PAGES).then(vec![Request::Fork { name: "child".into() }])
}

fn copy_on_write() -> (Machine, Vec<Work>) {
    let mut scene = Scene::heap(PAGES);
    scene.run(Request::Fork { name: "child".into() });
    let request = scene.touch(true);
    scene.then(vec![request])
}

fn munmap() -> (Machine, Vec<Work>) {
    let scene = Scene::heap(PAGES);
    let request = Request::Munmap { start: scene.start, len: PAGES * PAGE_SIZE };
    scene.then(vec![request])
}

fn exit() -> (Machine, Vec<Work>) {
    Scene::heap(PAGES).then(vec![Request::Exit])
}
