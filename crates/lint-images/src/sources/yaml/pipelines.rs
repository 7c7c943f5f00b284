//! CI: workflows and actions of GitHub, pipelines of GitLab.

use super::Finder;
use super::tree::{Id, Node};

impl Finder<'_> {
    /// Finds the images of a GitHub workflow: containers, services and steps of each job.
    pub(super) fn workflow(&mut self, root: Id) {
        let Some(jobs) = self.tree.get(root, "jobs") else {
            return;
        };
        for (_, job) in self.tree.pairs(jobs) {
            if let Some(container) = self.tree.get(*job, "container") {
                match self.tree.scalar(container) {
                    Some(_) => self.image(container),
                    None => self.image_at(container, "image"),
                }
            }
            if let Some(services) = self.tree.get(*job, "services") {
                for (_, service) in self.tree.pairs(services) {
                    self.image_at(*service, "image");
                }
            }
            self.steps(*job);
        }
    }

    /// Finds the images of steps: `uses: docker://IMAGE`.
    pub(super) fn steps(&mut self, id: Id) {
        if let Some(steps) = self.tree.get(id, "steps") {
            self.tree
                .list(steps)
                .iter()
                .for_each(|step| self.docker_uri(*step, "uses"));
        }
    }

    pub(super) fn docker_uri(&mut self, id: Id, key: &str) {
        const SCHEME: &str = "docker://";
        let Some(value) = self.tree.get(id, key) else {
            return;
        };
        let Node::Scalar { text, span, .. } = self.tree.node(value) else {
            return;
        };
        if let Some(image) = text.strip_prefix(SCHEME) {
            let start = self
                .text
                .get(span.clone())
                .and_then(|raw| raw.find(SCHEME))
                .map_or(0, |at| at + SCHEME.len());
            let from = span.start + start;
            self.add(image.to_owned(), image.to_owned(), from..from + image.len());
        }
    }

    /// Finds the images of a GitLab pipeline: `image` and `services` of the file, of `default` and of jobs.
    pub(super) fn pipeline(&mut self, root: Id) {
        let jobs = self
            .tree
            .pairs(root)
            .iter()
            .map(|(_, value)| *value)
            .filter(|id| !self.tree.pairs(*id).is_empty());
        for id in std::iter::once(root).chain(jobs).collect::<Vec<_>>() {
            if let Some(image) = self.tree.get(id, "image") {
                self.named(image);
            }
            if let Some(services) = self.tree.get(id, "services") {
                self.tree
                    .list(services)
                    .iter()
                    .for_each(|service| self.named(*service));
            }
        }
    }

    fn named(&mut self, id: Id) {
        match self.tree.scalar(id) {
            Some(_) => self.image(id),
            None => self.image_at(id, "name"),
        }
    }
}
