//! The tasks of the provider `kind`: a cluster of its own in podman.

use super::{Kind, Plan, Step, build, cluster, common, deploy, images, needed_tasks, phase, task};
use crate::e2e::settings::Settings;

pub(super) fn tasks(settings: &Settings, plan: &mut Plan) {
    build::tasks(settings, plan, true);
    let bases: Vec<&String> = settings.bases.values().collect();
    let components: Vec<&String> = settings
        .stack
        .components
        .values()
        .map(|component| &component.image)
        .collect();
    for image in bases.into_iter().chain(components.iter().copied()) {
        images::pull(plan, image, phase::IMAGES);
    }
    if let Some(image) = &settings.node_image {
        images::pull(plan, image, phase::CLUSTER);
    }
    for service in settings.stack.services.keys() {
        plan.task(images::image(settings, service.get_ref()));
    }
    plan.task(cluster::cluster(settings));
    let poll = images::podman()
        .args(["exec", &settings.node(), "ctr", "version"])
        .succeeds();
    let answers = Step::Until {
        test: poll,
        what: "the node's container runtime answers".to_owned(),
        seconds: 120,
    };
    let begun =
        task("node", Kind::Cluster, phase::CLUSTER, 3, vec![answers]).after_milestone("cluster", "begun");
    plan.task(begun);
    // Databases of one maker share most of their layers.
    if !components.is_empty() {
        let pulled = components.iter().map(|image| images::pull_name(image));
        let images = components.iter().map(|image| image.as_str());
        plan.task(images::load(settings, "components", images).after_all(pulled));
    }
    for service in settings.stack.services.keys() {
        let image = settings.image(service.get_ref());
        plan.task(
            images::load(settings, service.get_ref(), [image.as_str()]).after(format!("image:{service}")),
        );
    }
    plan.task(deploy::base(settings));
    for name in settings.stack.components.keys() {
        let steps = deploy::deploy(settings, name.get_ref(), None);
        let component = task(name.get_ref().clone(), Kind::Deploy, phase::IMAGES, 8, steps);
        let component = component.after("base").after("load:components");
        plan.task(component.after_all(needed_tasks(settings, name.get_ref())));
    }
    for name in common::entries_in_order(settings) {
        plan.task(deploy::job_or_service(settings, &name));
    }
    plan.task(common::test(settings));
    plan.task(
        task(
            "collect",
            Kind::Collect,
            phase::LAST,
            2,
            vec![cluster::collect(settings)],
        )
        .always(),
    );
    plan.task(
        task(
            "teardown",
            Kind::Teardown,
            phase::LAST,
            3,
            vec![cluster::teardown(settings)],
        )
        .always(),
    );
}
