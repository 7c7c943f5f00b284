//! kubectl works unmodified. Without kubectl the tests are listed and counted as ignored.

#![allow(
    clippy::unwrap_used,
    reason = "a test's helpers, outside of the functions in which clippy.toml allows them"
)]

mod support;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Output, Stdio};

use libtest_mimic::{Arguments, Trial};
use support::Server;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let has_kubectl = Command::new("kubectl")
        .args(["version", "--client"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let trials = vec![
        trial(
            "definitions_and_their_objects_are_applied_shown_changed_and_deleted",
            has_kubectl,
            definitions_and_their_objects_are_applied_shown_changed_and_deleted(),
        ),
        trial(
            "built_in_objects_are_created_in_kubectls_binary_form",
            has_kubectl,
            built_in_objects_are_created_in_kubectls_binary_form(),
        ),
        trial(
            "roles_are_granted_and_checked",
            has_kubectl,
            roles_are_granted_and_checked(),
        ),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: &str, has_kubectl: bool, test: impl Future<Output = ()> + Send + 'static) -> Trial {
    let body = move || {
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(test);
        Ok(())
    };
    let trial = Trial::test(name, body);
    if has_kubectl {
        return trial;
    }
    trial
        .with_kind("skipped: no kubectl on PATH")
        .with_ignored_flag(true)
}

const MANIFEST: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.kubectl.test}
spec:
  group: kubectl.test
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget, shortNames: [wd]}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      additionalPrinterColumns:
        - {name: Color, type: string, jsonPath: .spec.color}
      schema:
        openAPIV3Schema:
          type: object
          required: [spec]
          properties:
            spec:
              type: object
              required: [color]
              properties:
                color: {type: string, enum: [red, blue]}
            status:
              type: object
              x-kubernetes-preserve-unknown-fields: true
"#;

const WIDGET: &str = r#"
apiVersion: kubectl.test/v1
kind: Widget
metadata: {name: one, namespace: default}
spec: {color: red}
"#;

struct Kubectl {
    server: Server,
    cache: PathBuf,
}

impl Kubectl {
    async fn start() -> Self {
        let server = Server::start().await;
        let cache = server.folder.path().join("cache");
        Self { server, cache }
    }

    async fn run(&self, line: &str, input: &str) -> Output {
        let mut command = Command::new("kubectl");
        command
            .arg("--kubeconfig")
            .arg(&self.server.kubeconfig)
            .arg("--cache-dir")
            .arg(&self.cache);
        command
            .args(line.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let input = input.to_owned();
        let run = move || {
            let mut child = command.spawn().unwrap();
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            child.wait_with_output().unwrap()
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// The output of a successful command.
    async fn ok(&self, line: &str, input: &str) -> String {
        let output = self.run(line, input).await;
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "kubectl {line}\n{out}{err}");
        out.into_owned()
    }

    /// The error output of a failing command.
    async fn fails(&self, line: &str, input: &str) -> String {
        let output = self.run(line, input).await;
        assert!(
            !output.status.success(),
            "kubectl {line} succeeded: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

async fn definitions_and_their_objects_are_applied_shown_changed_and_deleted() {
    let kubectl = Kubectl::start().await;
    assert!(kubectl.ok("apply -f -", MANIFEST).await.contains("created"));
    kubectl
        .ok(
            "wait --for=condition=Established crd/widgets.kubectl.test --timeout=60s",
            "",
        )
        .await;
    assert!(
        kubectl
            .ok("apply -f -", WIDGET)
            .await
            .contains("widget.kubectl.test/one created")
    );
    assert!(kubectl.ok("apply -f -", WIDGET).await.contains("unchanged"));
    let table = kubectl.ok("get wd -A", "").await;
    assert!(
        table.contains("NAMESPACE") && table.contains("COLOR") && table.contains("default     one    red"),
        "{table}"
    );
    let described = kubectl.ok("describe wd one", "").await;
    assert!(described.contains("Color:  red"), "{described}");
    assert!(
        kubectl
            .ok("explain widget.spec.color", "")
            .await
            .contains("string")
    );
    assert!(
        kubectl
            .ok("apply -f -", &WIDGET.replace("red", "blue"))
            .await
            .contains("configured")
    );
    assert_eq!(
        kubectl.ok("get wd one -o jsonpath={.spec.color}", "").await,
        "blue"
    );
    assert!(
        kubectl
            .fails("apply -f -", &WIDGET.replace("red", "green"))
            .await
            .contains("Unsupported value: \"green\"")
    );
    assert!(
        kubectl
            .fails("apply -f -", &WIDGET.replace("color", "colour"))
            .await
            .contains("unknown field \"spec.colour\"")
    );
    let unknown = kubectl
        .fails("apply -f -", &WIDGET.replace("Widget", "Midget"))
        .await;
    assert!(unknown.contains("no matches for kind \"Midget\""), "{unknown}");
    kubectl
        .ok(r#"patch wd one --type=merge -p {"spec":{"color":"red"}}"#, "")
        .await;
    kubectl
        .ok(
            r#"patch wd one --subresource=status --type=merge -p {"status":{"phase":"Done"}}"#,
            "",
        )
        .await;
    kubectl
        .ok(
            "wait --for=jsonpath={.status.phase}=Done wd/one --timeout=60s",
            "",
        )
        .await;
    kubectl.ok("label wd one tier=web", "").await;
    assert_eq!(
        kubectl.ok("get wd -l tier=web -o name", "").await.trim(),
        "widget.kubectl.test/one"
    );
    assert!(
        kubectl
            .ok("apply --server-side --force-conflicts -f -", WIDGET)
            .await
            .contains("serverside-applied")
    );
    assert!(kubectl.ok("delete -f -", WIDGET).await.contains("deleted"));
    kubectl.ok("delete crd widgets.kubectl.test", "").await;
    assert!(
        kubectl
            .fails("get widgets.kubectl.test", "")
            .await
            .contains("the server doesn't have a resource type")
    );
}

async fn built_in_objects_are_created_in_kubectls_binary_form() {
    let kubectl = Kubectl::start().await;
    kubectl.ok("create namespace shop", "").await;
    kubectl
        .ok(
            "-n shop create deployment web --image=registry.test/web:1 --replicas=2 --port=80",
            "",
        )
        .await;
    let wide = kubectl.ok("-n shop get deployments -o wide", "").await;
    assert!(
        wide.contains("0/2") && wide.contains("registry.test/web:1") && wide.contains("app=web"),
        "{wide}"
    );
    kubectl
        .ok("-n shop set image deployment/web web=registry.test/web:2", "")
        .await;
    kubectl.ok("-n shop scale deployment web --replicas=3", "").await;
    let path =
        "-n shop get deployment web -o jsonpath={.spec.replicas}/{.spec.template.spec.containers[0].image}";
    assert_eq!(kubectl.ok(path, "").await, "3/registry.test/web:2");
    kubectl.ok("-n shop expose deployment web --port=80", "").await;
    kubectl
        .ok("-n shop create configmap settings --from-literal=a=b", "")
        .await;
    kubectl
        .ok("-n shop create secret generic key --from-literal=a=b", "")
        .await;
    assert_eq!(
        kubectl
            .ok("-n shop get secret key -o jsonpath={.data.a}", "")
            .await,
        "Yg=="
    );
    kubectl
        .ok("-n shop create job once --image=registry.test/job:1", "")
        .await;
    let all = kubectl.ok("-n shop get all", "").await;
    for name in ["deployment.apps/web", "service/web", "job.batch/once"] {
        assert!(all.contains(name), "{all}");
    }
    assert!(
        kubectl
            .ok("-n shop describe deployment web", "")
            .await
            .contains("3 desired")
    );
    assert!(
        kubectl
            .fails("-n shop create deployment web --image=x", "")
            .await
            .contains("already exists")
    );
    assert!(kubectl.ok("-n shop events", "").await.is_empty());
    kubectl.ok("delete namespace shop --timeout=60s", "").await;
    assert!(
        kubectl
            .fails("get namespace shop", "")
            .await
            .contains("not found")
    );
}

async fn roles_are_granted_and_checked() {
    let kubectl = Kubectl::start().await;
    kubectl.ok("create serviceaccount reader", "").await;
    kubectl
        .ok("create role reads --verb=get,list --resource=pods", "")
        .await;
    kubectl
        .ok(
            "create rolebinding reads --role=reads --serviceaccount=default:reader",
            "",
        )
        .await;
    let reader = "--as=system:serviceaccount:default:reader";
    assert_eq!(
        kubectl
            .ok(&format!("auth can-i list pods {reader}"), "")
            .await
            .trim(),
        "yes"
    );
    assert_eq!(
        String::from_utf8_lossy(
            &kubectl
                .run(&format!("auth can-i create pods {reader}"), "")
                .await
                .stdout
        )
        .trim(),
        "no"
    );
    assert!(kubectl.ok("auth whoami", "").await.contains("kubernetes-admin"));
    assert_eq!(
        kubectl
            .ok("create token reader", "")
            .await
            .trim()
            .split('.')
            .count(),
        3
    );
}
