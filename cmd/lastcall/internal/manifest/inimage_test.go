package manifest

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// image is a directory with some files of an image.
func image(t *testing.T) *Image {
	t.Helper()
	root := t.TempDir()
	for name, content := range map[string]string{"run/old": "x", "etc/app/default.conf": "default", "data/kept": "x"} {
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(root, "var"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"var/run": "/run", "var/up": "../../../run", "var/loop": "loop", "var/out": "/../../etc"} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	return &Image{Root: root, Entrypoint: []string{"/app", "entry"}, Cmd: []string{"cmd"}, User: 7, Group: 8, Groups: []int{9}}
}

func TestPlan_RunsWhatKubernetesRunsInAnImage(t *testing.T) {
	for _, c := range []struct {
		lines         string
		command, want []string
	}{
		{"", nil, []string{"/app", "entry", "cmd"}},
		{"args: [a]", nil, []string{"/app", "entry", "a"}},
		{"command: [/b]", nil, []string{"/b"}},
		{"command: [/b]\nargs: [a, $(X)]\nenv: [{name: X, value: z}]", nil, []string{"/b", "a", "z"}},
		{"args: [a]", []string{"/own"}, []string{"/own", "a"}},
		{"args: [a]", []string{"/own", "b"}, []string{"/own", "b"}},
	} {
		p := plan(t, container(c.lines), Given{Image: image(t), Command: c.command})
		if got := p.Config.Program.Command; !slices.Equal(got, c.want) {
			t.Errorf("%s, %q: %q, want %q", c.lines, c.command, got, c.want)
		}
	}
	set := read(t, container(""))
	if _, err := set.Plan(set.Workloads[0], Given{Image: &Image{Root: t.TempDir()}}); err == nil || !strings.Contains(err.Error(), "neither the image nor the manifest says what is run") {
		t.Errorf("nothing to run: %v", err)
	}
}

func TestPlan_PutsTheVolumesIntoTheImage(t *testing.T) {
	im := image(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hush"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := plan(t, pod(`containers:
- name: c
  image: i
  workingDir: /srv
  args: [--config=/etc/app/app.conf]
  lifecycle: {preStop: {exec: {command: [/app/drain]}}}
  volumeMounts: [{name: conf, mountPath: /etc/app}, {name: run, mountPath: /var/run/app}, {name: tmp, mountPath: /tmp}, {name: s, mountPath: /var/up/secrets/key}]
volumes: [{name: conf, configMap: {name: settings}}, {name: run, emptyDir: {}}, {name: tmp, emptyDir: {}}, {name: s, secret: {secretName: other}}]`)+objects,
		Given{Image: im, Files: map[string]string{"/var/up/secrets/key": secret}})
	for name, want := range map[string]string{"etc/app/app.conf": "mode fast", "run/old": "x", "run/secrets/key": "hush", "data/kept": "x"} {
		if content, err := os.ReadFile(filepath.Join(im.Root, name)); err != nil || string(content) != want {
			t.Errorf("%s: %q, %v", name, content, err)
		}
	}
	for _, name := range []string{"run/app", "tmp"} {
		if info, err := os.Stat(filepath.Join(im.Root, name)); err != nil || !info.IsDir() {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(im.Root, "etc/app/default.conf")); !os.IsNotExist(err) {
		t.Errorf("a mount hides what the image has there: %v", err)
	}
	got := p.Config.Program
	if got.Command[2] != "--config=/etc/app/app.conf" || got.PreStop.Exec[0] != "/app/drain" || got.Dir != "/srv" || got.Image.User != 7 || got.Image.Group != 8 {
		t.Errorf("%+v %+v", got, got.Image)
	}
	node := read(t, pod("containers: [{name: c, volumeMounts: [{name: v, mountPath: /host/etc}]}]\nvolumes: [{name: v, hostPath: {path: /etc}}]"))
	if _, err := node.Plan(node.Workloads[0], Given{Image: im}); err == nil || !strings.Contains(err.Error(), "/etc of the host at /host/etc: --file /host/etc=PATH") {
		t.Errorf("what is the node's: %v", err)
	}
	for target, want := range map[string]string{"/var/loop/x": "too many symbolic links", "/": "cannot take the place of the whole image"} {
		set := read(t, container(""))
		if _, err := set.Plan(set.Workloads[0], Given{Image: im, Files: map[string]string{target: secret}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", target, err)
		}
	}
	plan(t, container(""), Given{Image: im, Files: map[string]string{"/var/out/x": secret}})
	if _, err := os.Stat(filepath.Join(im.Root, "etc/x")); err != nil {
		t.Errorf("a link that leads out of the image: %v", err)
	}
}

func TestPlan_RunsAsTheUserOfTheManifest(t *testing.T) {
	for lines, want := range map[string][]int{
		"":                                   {7, 8, 9},
		"securityContext: {runAsUser: 7}":    {7, 8, 9},
		"securityContext: {runAsUser: 1000}": {1000, 0, 9},
		"securityContext: {runAsUser: 1, runAsGroup: 2}": {1, 2, 9},
		"securityContext: {runAsGroup: 5}":               {7, 5, 9},
	} {
		got := plan(t, container(lines), Given{Image: image(t)}).Config.Program.Image
		if all := append([]int{got.User, got.Group}, got.Groups...); !slices.Equal(all, want) {
			t.Errorf("%s: %v, want %v", lines, all, want)
		}
	}
	of := "securityContext: {runAsUser: 3, runAsGroup: 4, fsGroup: 5, supplementalGroups: [6]}\ncontainers: [{name: c, securityContext: {runAsUser: 2}}]"
	got := plan(t, pod(of), Given{Image: image(t)}).Config.Program.Image
	if all := append([]int{got.User, got.Group}, got.Groups...); !slices.Equal(all, []int{2, 4, 9, 6, 5}) {
		t.Errorf("of the pod and the container: %v", all)
	}
}

func TestPlan_HasTheSidecarsThatCanRunHere(t *testing.T) {
	text := pod(`containers: [{name: c}]
initContainers:
- {name: prepare, command: [/no/such/program]}
- name: logs
  restartPolicy: Always
  command: [/bin/sh, -c, "tail -f $(LOG)"]
  env: [{name: LOG, value: /logs/app}]
  lifecycle: {preStop: {sleep: {seconds: 1}}}
  volumeMounts: [{name: logs, mountPath: /logs}]
- {name: proxy, restartPolicy: Always, image: envoy}
- {name: mesh, restartPolicy: Always, command: [/no/such/mesh]}
volumes: [{name: logs, emptyDir: {}}]`)
	p := plan(t, text, Given{Sidecars: map[string]string{"proxy": "./envoy -c x"}, Env: []string{"A=b"}})
	if len(p.Config.Sidecars) != 2 {
		t.Fatalf("%+v", p.Config.Sidecars)
	}
	logs, proxy := p.Config.Sidecars[0], p.Config.Sidecars[1]
	at := p.made["logs"]
	if logs.Name != "logs" || !reflect.DeepEqual(logs.Command, []string{"/bin/sh", "-c", "tail -f " + at + "/app"}) || !slices.Equal(logs.Env, []string{"LOG=" + at + "/app"}) || logs.PreStop == nil {
		t.Errorf("%+v", logs)
	}
	if proxy.Name != "proxy" || !reflect.DeepEqual(proxy.Command, []string{"/bin/sh", "-c", "exec ./envoy -c x"}) || proxy.Env != nil {
		t.Errorf("%+v", proxy)
	}
	if len(p.Notes) != 2 || p.Notes[0] != "the init container prepare is not run" || !strings.Contains(p.Notes[1], "the sidecar mesh is left out") {
		t.Errorf("%q", p.Notes)
	}
	set := read(t, text)
	if _, err := set.Plan(set.Workloads[0], Given{Sidecars: map[string]string{"prepare": "x"}}); err == nil || !strings.Contains(err.Error(), "no init container of this name with restartPolicy: Always") {
		t.Errorf("no sidecar: %v", err)
	}
}
