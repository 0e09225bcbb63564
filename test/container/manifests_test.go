package container

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const manifests = repository + "/deploy/kubernetes"

// objects are the output of a kustomization, decoded strictly: a key that Kubernetes does not know
// is an error.
type objects struct {
	deployments  []apps.Deployment
	statefulSets []apps.StatefulSet
	services     []core.Service
	configMaps   []core.ConfigMap
	budgets      []policy.PodDisruptionBudget
}

// graceIn matches the grace in a manifest, and in a patch.
var graceIn = regexp.MustCompile(`(terminationGracePeriodSeconds(?:: |, value: ))\d+`)

// built returns the output of a kustomization. If a grace is given, it replaces the manifest's, as
// in a user's own copy.
func built(t *testing.T, name, grace string) resmap.ResMap {
	t.Helper()
	fs := filesys.MakeFsInMemory()
	files, err := filepath.Glob(filepath.Join(manifests, "*", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", manifests, len(files), err)
	}
	for _, file := range files {
		content := read(t, file)
		if grace != "" && filepath.Base(filepath.Dir(file)) == name {
			content = graceIn.ReplaceAllString(content, "${1}"+grace)
		}
		if err := fs.WriteFile(strings.TrimPrefix(file, manifests), []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	options := krusty.MakeDefaultOptions()
	options.PluginConfig = types.DisabledPluginConfig()
	made, err := krusty.MakeKustomizer(options).Run(fs, "/"+name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return made
}

// kustomize decodes the output of a kustomization.
func kustomize(t *testing.T, name, grace string) objects {
	t.Helper()
	made := built(t, name, grace)
	var all objects
	for _, r := range made.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		switch kind := r.GetKind(); kind {
		case "Deployment":
			all.deployments = append(all.deployments, strictly[apps.Deployment](t, text))
		case "StatefulSet":
			all.statefulSets = append(all.statefulSets, strictly[apps.StatefulSet](t, text))
		case "Service":
			all.services = append(all.services, strictly[core.Service](t, text))
		case "ConfigMap":
			all.configMaps = append(all.configMaps, strictly[core.ConfigMap](t, text))
		case "PodDisruptionBudget":
			all.budgets = append(all.budgets, strictly[policy.PodDisruptionBudget](t, text))
		default:
			t.Fatalf("%s makes a %s, which no test looks at", name, kind)
		}
	}
	return all
}

func strictly[T any](t *testing.T, text []byte) (object T) {
	t.Helper()
	if err := yaml.UnmarshalStrict(text, &object); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return object
}

// template is a pod template of the manifests, with the labels that select its pods.
type template struct {
	labels map[string]string
	pod    core.PodTemplateSpec
}

// templates are the pod templates of both kustomizations.
func templates(t *testing.T, grace string) map[string]template {
	t.Helper()
	deployment, set := kustomize(t, "postgres", grace).deployments, kustomize(t, "sqlite", grace).statefulSets
	if len(deployment) != 1 || len(set) != 1 {
		t.Fatalf("%d Deployments on Postgres and %d StatefulSets on SQLite, want one of each", len(deployment), len(set))
	}
	return map[string]template{
		"postgres": {deployment[0].Spec.Selector.MatchLabels, deployment[0].Spec.Template},
		"sqlite":   {set[0].Spec.Selector.MatchLabels, set[0].Spec.Template},
	}
}

// everyTemplate returns the pod templates of all kustomizations: those of the servers, the
// overlay's and the example's.
func everyTemplate(t *testing.T, grace string) map[string]template {
	t.Helper()
	all := templates(t, grace)
	for _, name := range []string{"overlay", "hello"} {
		made := kustomize(t, name, grace).deployments
		if len(made) != 1 {
			t.Fatalf("%s has %d Deployments, want one", name, len(made))
		}
		all[name] = template{made[0].Spec.Selector.MatchLabels, made[0].Spec.Template}
	}
	return all
}

func TestManifests_StrictDecodingRefusesAKeyThatKubernetesDoesNotKnow(t *testing.T) {
	for _, text := range []string{"spec: {replica: 2}", "spec: {template: {spec: {terminationGracePeriodsSeconds: 2}}}", "spec: {replicas: 1, replicas: 2}"} {
		if err := yaml.UnmarshalStrict([]byte(text), new(apps.Deployment)); err == nil {
			t.Errorf("%s was accepted", text)
		}
	}
}

func TestManifests_TheProgramsGraceAndThePlatformsAreOneValue(t *testing.T) {
	for _, grace := range []string{"", "25", "21900"} {
		for name, pod := range everyTemplate(t, grace) {
			spec := pod.pod.Spec
			want := *spec.TerminationGracePeriodSeconds
			if grace != "" && fmt.Sprint(want) != grace {
				t.Fatalf("%s: terminationGracePeriodSeconds is %d, not the %s of the patch", name, want, grace)
			}
			if got := programGrace(t, spec.Containers[0]); got+preStop(t, spec.Containers[0]) != time.Duration(want)*time.Second {
				t.Errorf("%s: LASTCALL_GRACE is %v, and terminationGracePeriodSeconds %d less the preStop hook's %v", name, got, want, preStop(t, spec.Containers[0]))
			}
		}
	}
}

func programGrace(t *testing.T, c core.Container) time.Duration {
	t.Helper()
	for _, e := range c.Env {
		if e.Name == "LASTCALL_GRACE" {
			d, err := time.ParseDuration(e.Value)
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
	}
	t.Fatal("no LASTCALL_GRACE")
	return 0
}

// preStop returns how long a container's hook takes. Only the length of a plain sleep is known.
func preStop(t *testing.T, c core.Container) time.Duration {
	t.Helper()
	switch {
	case c.Lifecycle == nil || c.Lifecycle.PreStop == nil:
		return 0
	case c.Lifecycle.PreStop.Sleep == nil:
		t.Fatal("the preStop hook is no sleep: how long it takes cannot be subtracted from the grace")
	}
	return time.Duration(c.Lifecycle.PreStop.Sleep.Seconds) * time.Second
}

// The Pod Security Standard "restricted", and a root file system that nobody can write to.
func TestManifests_ThePodsAreRestricted(t *testing.T) {
	for name, pod := range everyTemplate(t, "") {
		spec, security := pod.pod.Spec, pod.pod.Spec.SecurityContext
		if security == nil || security.RunAsNonRoot == nil || !*security.RunAsNonRoot || security.RunAsUser == nil || *security.RunAsUser == 0 {
			t.Errorf("%s: the pod may run as root", name)
		}
		if security.SeccompProfile == nil || security.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s: no seccomp profile", name)
		}
		if spec.HostNetwork || spec.HostPID || spec.HostIPC || spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
			t.Errorf("%s: the pod gets what it does not need", name)
		}
		for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
			s := c.SecurityContext
			if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem ||
				s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 || s.Privileged != nil {
				t.Errorf("%s: container %s is not restricted: %+v", name, c.Name, s)
			}
		}
		for _, v := range spec.Volumes {
			if v.ConfigMap == nil && v.Secret == nil && v.EmptyDir == nil && v.PersistentVolumeClaim == nil {
				t.Errorf("%s: volume %s is of a kind that restricted forbids", name, v.Name)
			}
			if v.Secret != nil && *v.Secret.DefaultMode&0o027 != 0 {
				t.Errorf("%s: secret %s has mode %o: others could read it, and the program refuses it", name, v.Name, *v.Secret.DefaultMode)
			}
		}
	}
}

func TestManifests_EveryNameInTheManifestsLeadsSomewhere(t *testing.T) {
	for name, pod := range templates(t, "") {
		made, c := kustomize(t, name, ""), pod.pod.Spec.Containers[0]
		for key, value := range pod.labels {
			if pod.pod.Labels[key] != value || made.services[0].Spec.Selector[key] != value {
				t.Errorf("%s: label %s is %q in the pods and %q in the Service's selector", name, key, pod.pod.Labels[key], made.services[0].Spec.Selector[key])
			}
		}
		ports := map[string]int32{}
		for _, p := range c.Ports {
			ports[p.Name] = p.ContainerPort
		}
		for flag, port := range map[string]string{"--listen": "api", "--probe-listen": "probes"} {
			if want := fmt.Sprintf("%s=0.0.0.0:%d", flag, ports[port]); !slices.Contains(c.Args, want) {
				t.Errorf("%s: no %s in %q", name, want, c.Args)
			}
		}
		if target := made.services[0].Spec.Ports[0].TargetPort.StrVal; ports[target] == 0 {
			t.Errorf("%s: the Service leads to port %q, which the pods do not have", name, target)
		}
		for what, probe := range map[string]*core.Probe{"/healthz": c.LivenessProbe, "/readyz": c.ReadinessProbe, "/healthz ": c.StartupProbe} {
			if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != strings.TrimSpace(what) || probe.HTTPGet.Port.StrVal != "probes" {
				t.Errorf("%s: probe of %s: %+v", name, what, probe)
			}
		}
		for _, v := range pod.pod.Spec.Volumes {
			if v.ConfigMap != nil && v.ConfigMap.Name != made.configMaps[0].Name {
				t.Errorf("%s: volume %s is ConfigMap %q, which is not made", name, v.Name, v.ConfigMap.Name)
			}
		}
		for _, arg := range c.Args {
			if _, path, ok := strings.Cut(arg, "=/"); ok && !mounted(c, "/"+path) {
				t.Errorf("%s: %s is in no volume", name, arg)
			}
		}
	}
	budget, deployment := kustomize(t, "postgres", "").budgets[0], kustomize(t, "postgres", "").deployments[0]
	if budget.Spec.Selector == nil {
		t.Fatal("the PodDisruptionBudget selects nothing")
	}
	if fmt.Sprint(budget.Spec.Selector.MatchLabels) != fmt.Sprint(deployment.Spec.Selector.MatchLabels) {
		t.Errorf("the PodDisruptionBudget is for %v, the Deployment for %v", budget.Spec.Selector.MatchLabels, deployment.Spec.Selector.MatchLabels)
	}
}

func mounted(c core.Container, path string) bool {
	return slices.ContainsFunc(c.VolumeMounts, func(m core.VolumeMount) bool { return strings.HasPrefix(path, m.MountPath+"/") })
}

// A moving tag, or none, makes Kubernetes default to pulling the image for each pod, and a later
// apply does not change that.
func TestManifests_AnImageWithoutATagIsNotPulledForEachPod(t *testing.T) {
	for name, pod := range everyTemplate(t, "") {
		for _, c := range pod.pod.Spec.Containers {
			if c.ImagePullPolicy != core.PullIfNotPresent {
				t.Errorf("%s: the image of %s is pulled %q, want IfNotPresent", name, c.Name, c.ImagePullPolicy)
			}
		}
	}
}

func TestManifests_TheOverlayHasItsOwnImageKindsAndGrace(t *testing.T) {
	made := kustomize(t, "overlay", "")
	spec := made.deployments[0].Spec
	if image := spec.Template.Spec.Containers[0].Image; image != "registry.example/sums:1" || *spec.Replicas != 3 {
		t.Errorf("image %s, %d replicas: want registry.example/sums:1 and 3", image, *spec.Replicas)
	}
	if got := programGrace(t, spec.Template.Spec.Containers[0]); got != 2*time.Minute {
		t.Errorf("LASTCALL_GRACE is %v, want 2m", got)
	}
	if len(made.configMaps) != 1 || !strings.Contains(made.configMaps[0].Data["lastcall.yaml"], "sums:") {
		t.Errorf("the ConfigMaps are %+v, want one with the overlay's kinds", made.configMaps)
	}
	for _, v := range spec.Template.Spec.Volumes {
		if v.ConfigMap != nil && v.ConfigMap.Name != made.configMaps[0].Name {
			t.Errorf("the pods mount ConfigMap %q, made is %q", v.ConfigMap.Name, made.configMaps[0].Name)
		}
	}
	// With the programs of the configuration in the places where the Containerfile copies them.
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "sums.sh"), []byte(read(t, repository+"/examples/exec/sums.sh")), 0o600); err != nil {
		t.Fatal(err)
	}
	config := strings.ReplaceAll(made.configMaps[0].Data["lastcall.yaml"], "/programs/", dir+"/")
	file := filepath.Join(dir, "lastcall.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.CommandContext(t.Context(), filepath.Join(makeProgram(t), "lastcall"), "config", "check", file).CombinedOutput(); err != nil {
		t.Errorf("config check: %v\n%s", err, said)
	}
}
