package manifest

import (
	"strings"
	"testing"
)

// read reads one file of manifests.
func read(t *testing.T, text string) *Set {
	t.Helper()
	set, err := Read(Source{Name: "m.yaml", Text: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// pod returns a Pod whose spec has these lines.
func pod(spec string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {app: p}}\nspec:\n" + indent(spec, "  ")
}

// container returns a Pod with one container that has these lines.
func container(lines string) string {
	return pod("containers:\n- name: c\n  image: i\n" + indent(lines, "  "))
}

// deployment returns a Deployment of two pods with this spec.
func deployment(spec string) string {
	return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  replicas: 2\n  selector: {matchLabels: {app: d}}\n" +
		"  template:\n    metadata: {labels: {app: d}}\n    spec:\n" + indent(spec, "      ")
}

func indent(text, by string) string {
	text = strings.TrimRight(text, "\n")
	if text == "" {
		return ""
	}
	return by + strings.ReplaceAll(text, "\n", "\n"+by) + "\n"
}

func TestRead_FindsEachKindThatMakesPods(t *testing.T) {
	template := "template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c}]}}"
	for kind, text := range map[string]string{
		"Pod": "apiVersion: v1\nkind: Pod\nmetadata: {name: work}\nspec: {containers: [{name: c}]}",
	} {
		check(t, kind, text, 1)
	}
	for _, kind := range []string{"Deployment", "StatefulSet", "ReplicaSet"} {
		check(t, kind, "apiVersion: apps/v1\nkind: "+kind+"\nmetadata: {name: work}\nspec: {replicas: 3, "+template+"}", 3)
	}
	check(t, "DaemonSet", "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: work}\nspec: {"+template+"}", 0)
	check(t, "Job", "apiVersion: batch/v1\nkind: Job\nmetadata: {name: work}\nspec: {"+template+"}", 1)
	check(t, "CronJob", "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: work}\nspec: {schedule: '* * * * *', jobTemplate: {spec: {"+template+"}}}", 1)
	check(t, "Pod", `{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "work"}, "spec": {"containers": [{"name": "c"}]}}]}`, 1)
}

func check(t *testing.T, kind, text string, replicas int) {
	t.Helper()
	set := read(t, "# first\n---\n---\n"+text+"\n---\napiVersion: example.com/v1\nkind: Other\nmetadata: {name: o}\n")
	if len(set.Workloads) != 1 || len(set.Others) != 1 {
		t.Fatalf("%s: %d workloads, others %v", kind, len(set.Workloads), set.Others)
	}
	w := set.Workloads[0]
	if w.Kind != kind || w.Name != "work" || w.Replicas != replicas || len(w.Pod.Containers) != 1 {
		t.Errorf("%s: %+v", kind, w)
	}
}

func TestRead_NamesWhatIsWrongAndItsLine(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "the manifest is empty"},
		{"apiVersion: v1\nkind: Pod\nmetadata: {name: n}", "m.yaml:3: metadata.name is a bool and must be a string: put it in quotes"},
		{"# only a comment\n---\n", "the manifest is empty"},
		{"a: b: c", "m.yaml is no YAML: mapping values are not allowed"},
		{"a: 1\n---\nb: 1\nb: 2\n", `m.yaml is no YAML: line 4: key "b" already set in map`},
		{"a: 1\n---\n\tb: 1\n", "m.yaml is no YAML: line 3: found character that cannot start any token"},
		{"just words", "m.yaml:1: this is no manifest: a manifest has keys"},
		{"[1, 2]", "m.yaml:1: this is no manifest"},
		{"name: {{ .Values.name }}\n", "m.yaml is a template and no manifest: render it first, helm template"},
		{"# one\n---\n# two\nfoo: bar\n", "m.yaml:4: this is no object of Kubernetes: it has no apiVersion and kind"},
		{"apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n", "this is a kustomization and no manifest: build it first, kubectl kustomize"},
		{"apiVersion: v1\nkind: Service\nmetadata: {name: s}\n", "the manifest is empty"},
		{"apiVersion: example.com/v1\nkind: Rollout\nmetadata: {name: r}\n", "nothing in the manifest makes pods: it has Rollout r"},
		{"apiVersion: extensions/v1beta1\nkind: Deployment\nmetadata: {name: d}\n", "m.yaml:1: Deployment d has the apiVersion extensions/v1beta1, which Kubernetes does not serve: it is apps/v1"},
		{pod("containers: []"), "m.yaml:4: Pod p has no containers"},
		{"apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n", "m.yaml:1: Pod p has no containers"},
		{pod("containers: [{name: c}, {name: c}]"), `there are two of "c"`},
		{pod("terminationGracePeriodSeconds: -1\ncontainers: [{name: c}]"), "m.yaml:5: terminationGracePeriodSeconds is -1 and must not be negative"},
		{"---\n" + container("lifecycle:\n  preStops: {}\nreadinessprobe: {}"), "m.yaml:10: Kubernetes knows no field spec.containers[0].lifecycle.preStops\nm.yaml:11: Kubernetes knows no field spec.containers[0].readinessprobe"},
		{container("env:\n- {name: A, value: 'a'}\n- {name: B, value: 8080}"), "m.yaml:10: spec.containers.env.value is a number and must be a string: put it in quotes"},
		{container("env:\n- {name: B, value: on}"), "m.yaml:9: spec.containers.env.value is a bool and must be a string: put it in quotes"},
		{container("lifecycle:\n  preStop: {}"), "m.yaml:9: preStop must be one of exec, httpGet and sleep"},
		{container("lifecycle:\n  preStop: {exec: {command: []}}"), "preStop has no command"},
		{container("lifecycle:\n  preStop: {sleep: {seconds: 1}, exec: {command: [a]}}"), "preStop must be one of"},
		{container("lifecycle: {stopSignal: SIGNONE}"), `m.yaml:8: stopSignal: rehearse: there is no signal "SIGNONE"`},
		{container("livenessProbe: {periodSeconds: 3}"), "m.yaml:8: livenessProbe must be one of exec, httpGet, tcpSocket and grpc"},
		{container("livenessProbe: {periodSeconds: -3, tcpSocket: {port: 1}}"), "the times and thresholds of livenessProbe must not be negative"},
	} {
		set, err := Read(Source{Name: "m.yaml", Text: []byte(c.text)})
		if err == nil {
			_, err = set.Workload("")
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q:\n%v\nwant %s", c.text, err, c.want)
		}
	}
	if _, err := Read(Source{Name: "big", Text: make([]byte, maxSource+1)}); err == nil || !strings.Contains(err.Error(), "is no manifest") {
		t.Errorf("a source without end: %v", err)
	}
}

func TestSet_ChoosesAWorkloadAndAContainerByName(t *testing.T) {
	set := read(t, container("")+"---\n"+deployment("containers: [{name: a}, {name: b}]\ninitContainers: [{name: i}]")+"---\n"+strings.Replace(deployment("containers: [{name: x}]"), "name: d", "name: p", 1))
	for name, want := range map[string]string{
		"d": "Deployment d", "deployment/p": "Deployment p", "Pod/p": "Pod p",
		"":  "there are several workloads: choose one with --workload: pod/p, deployment/d, deployment/p",
		"p": `several workloads have the name "p": say which with --workload KIND/NAME`,
		"x": `there is no workload "x": there are pod/p, deployment/d, deployment/p`,
	} {
		w, err := set.Workload(name)
		if err != nil && !strings.HasPrefix(err.Error(), want) || err == nil && w.String() != want {
			t.Errorf("%q: %v, %v, want %s", name, w, err, want)
		}
	}
	d, _ := set.Workload("d")
	for name, want := range map[string]string{
		"b": "b",
		"":  "Deployment d has several containers: choose one with --container: a, b",
		"x": `Deployment d has no container "x": it has a, b`,
		"i": `container "i" of Deployment d is an init container: only a, b can be rehearsed`,
	} {
		c, err := d.Container(name)
		if err != nil && err.Error() != want || err == nil && c.Name != want {
			t.Errorf("%q: %v, %v, want %s", name, c, err, want)
		}
	}
	chosen := read(t, strings.Replace(pod("containers: [{name: a}, {name: b}]"), "name: p,", "name: p, annotations: {kubectl.kubernetes.io/default-container: b},", 1))
	if c, err := chosen.Workloads[0].Container(""); err != nil || c.Name != "b" {
		t.Errorf("the container that kubectl takes: %v, %v", c, err)
	}
}
