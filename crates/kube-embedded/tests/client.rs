//! A kube client works as with the real server: typed objects, complete watches, races with one winner.

#![allow(
    clippy::unwrap_used,
    reason = "a test's helpers, outside of the functions in which clippy.toml allows it"
)]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use support::Server;

async fn client(server: &Server) -> Client {
    let file = Kubeconfig::read_from(&server.kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

fn named(name: &str) -> ConfigMap {
    serde_json::from_value(serde_json::json!({"metadata": {"name": name}})).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_a_hundred_concurrent_creates_wins() {
    let server = Server::start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client(&server).await);
    let attempts = (0..100).map(|_| {
        let api = api.clone();
        tokio::spawn(async move { api.create(&PostParams::default(), &named("one")).await })
    });
    let mut created = 0;
    for one in attempts.collect::<Vec<_>>() {
        match one.await.unwrap() {
            Ok(_) => created += 1,
            Err(kube::Error::Api(status)) => {
                assert_eq!((status.code, status.reason.as_str()), (409, "AlreadyExists"))
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(created, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn unconditional_patches_are_all_applied_and_conditional_ones_conflict() {
    let server = Server::start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client(&server).await);
    api.create(&PostParams::default(), &named("c")).await.unwrap();
    let patches = (0..50).map(|index| {
        let api = api.clone();
        tokio::spawn(async move {
            let patch = serde_json::json!({"data": {format!("k{index}"): "v"}});
            api.patch("c", &PatchParams::default(), &Patch::Merge(patch))
                .await
                .unwrap();
        })
    });
    for one in patches.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    let current = api.get("c").await.unwrap();
    assert_eq!(current.data.as_ref().unwrap().len(), 50);
    let emptied = ConfigMap {
        data: None,
        ..current.clone()
    };
    api.replace("c", &PostParams::default(), &emptied).await.unwrap();
    let changed = ConfigMap {
        data: Some([("x".to_owned(), "y".to_owned())].into()),
        ..current
    };
    let error = api
        .replace("c", &PostParams::default(), &changed)
        .await
        .unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.reason == "Conflict"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_watches_receive_every_one_of_a_hundred_objects() {
    let server = Server::start().await;
    let client = client(&server).await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let watches = (0..100).map(|_| {
        let api = api.clone();
        tokio::spawn(async move {
            let mut seen = BTreeSet::new();
            let mut stream = watcher(api, watcher::Config::default())
                .default_backoff()
                .applied_objects()
                .boxed();
            while seen.len() < 100 {
                seen.insert(stream.try_next().await.unwrap().unwrap().name_any());
            }
        })
    });
    let watches: Vec<_> = watches.collect();
    for index in 0..100 {
        api.create(&PostParams::default(), &named(&format!("c{index}")))
            .await
            .unwrap();
    }
    for one in watches {
        tokio::time::timeout(Duration::from_secs(60), one)
            .await
            .expect("all seen within 60 s")
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_from_an_expired_version_gets_410_and_a_new_watcher_lists_all() {
    let server = Server::start().await;
    let client = client(&server).await;
    let api: Api<ConfigMap> = Api::default_namespaced(client.clone());
    api.create(&PostParams::default(), &named("before"))
        .await
        .unwrap();
    let listed = api
        .list(&ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();
    api.create(&PostParams::default(), &named("between"))
        .await
        .unwrap();
    let request = http::Request::post("/compact").body(Vec::new()).unwrap();
    client.request::<serde_json::Value>(request).await.unwrap();
    let mut stream = api
        .watch(&kube::api::WatchParams::default(), &listed)
        .await
        .unwrap()
        .boxed();
    match stream.try_next().await.unwrap().unwrap() {
        kube::api::WatchEvent::Error(status) => {
            assert_eq!((status.code, status.reason.as_str()), (410, "Expired"))
        }
        other => panic!("{other:?}"),
    }
    let mut seen = BTreeSet::new();
    let mut stream = watcher(api, watcher::Config::default()).applied_objects().boxed();
    while seen.len() < 2 {
        seen.insert(stream.try_next().await.unwrap().unwrap().name_any());
    }
    assert_eq!(seen, BTreeSet::from(["before".to_owned(), "between".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn lease_is_acquired_by_apply_and_lost_to_force() {
    let server = Server::start().await;
    let api: Api<Lease> = Api::default_namespaced(client(&server).await);
    let lease = |holder: &str| {
        serde_json::json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 5},
        })
    };
    api.patch("l", &PatchParams::apply("one"), &Patch::Apply(lease("one")))
        .await
        .unwrap();
    let error = api
        .patch("l", &PatchParams::apply("two"), &Patch::Apply(lease("two")))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("conflict with \"one\": .spec.holderIdentity"),
        "{error}"
    );
    let forced = api
        .patch(
            "l",
            &PatchParams::apply("two").force(),
            &Patch::Apply(lease("two")),
        )
        .await
        .unwrap();
    assert_eq!(forced.spec.unwrap().holder_identity.as_deref(), Some("two"));
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_namespace_disappears() {
    let server = Server::start().await;
    let client = client(&server).await;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let shop: Namespace = serde_json::from_value(serde_json::json!({"metadata": {"name": "shop"}})).unwrap();
    namespaces.create(&PostParams::default(), &shop).await.unwrap();
    let api: Api<ConfigMap> = Api::namespaced(client, "shop");
    api.create(&PostParams::default(), &named("c")).await.unwrap();
    namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
    support::until("the namespace is gone", async || {
        namespaces.get_opt("shop").await.unwrap().is_none()
    })
    .await;
    let error = api.create(&PostParams::default(), &named("c")).await.unwrap_err();
    assert!(
        error.to_string().contains("namespaces \"shop\" not found"),
        "{error}"
    );
}
