package manifest

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/rehearse"
)

// plan returns the plan of the first workload.
func plan(t *testing.T, text string, given Given) *Plan {
	t.Helper()
	if given.Environ == nil {
		given.Environ = func(string) (string, bool) { return "", false }
	}
	set := read(t, text)
	p, err := set.Plan(set.Workloads[0], given)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func TestPlan_HasTheLifecycleOfTheManifest(t *testing.T) {
	second := time.Second
	half := 15 * time.Second
	for _, c := range []struct {
		lines string
		want  rehearse.Container
	}{
		{"", rehearse.Container{}},
		{"lifecycle: {stopSignal: SIGQUIT, preStop: {exec: {command: [/bin/sh, -c, sleep 3]}}}",
			rehearse.Container{StopSignal: syscall.SIGQUIT, PreStop: &rehearse.Hook{Exec: []string{"/bin/sh", "-c", "sleep 3"}}}},
		{"lifecycle: {preStop: {sleep: {seconds: 1}}}", rehearse.Container{PreStop: &rehearse.Hook{Sleep: &second}}},
		{"lifecycle: {preStop: {sleep: {seconds: 0}}}", rehearse.Container{PreStop: &rehearse.Hook{Sleep: new(time.Duration)}}},
		{"ports: [{name: web, containerPort: 81}]\nlifecycle: {preStop: {httpGet: {path: /x, port: web, scheme: HTTPS, httpHeaders: [{name: a, value: b}]}}}",
			rehearse.Container{PreStop: &rehearse.Hook{HTTPGet: &rehearse.HTTPGet{Scheme: "https", Port: 81, Path: "/x", Header: map[string][]string{"A": {"b"}}}}}},
		{"readinessProbe: {grpc: {port: 5, service: s}, periodSeconds: 2, timeoutSeconds: 3, failureThreshold: 4, successThreshold: 5, initialDelaySeconds: 6}",
			rehearse.Container{Readiness: &rehearse.Probe{GRPC: &rehearse.GRPC{Port: 5, Service: "s"}, Period: 2 * second, Timeout: 3 * second, FailureThreshold: 4, SuccessThreshold: 5, InitialDelay: 6 * second}}},
		{"livenessProbe: {tcpSocket: {port: 7}, terminationGracePeriodSeconds: 15}", rehearse.Container{Liveness: &rehearse.Probe{TCP: 7, Grace: &half}}},
		{"env: [{name: F, value: /bin/true}]\nstartupProbe: {exec: {command: [$(F), $$x, $(G)]}}", rehearse.Container{Env: []string{"F=/bin/true"}, Startup: &rehearse.Probe{Exec: []string{"/bin/true", "$x", "$(G)"}}}},
	} {
		p := plan(t, container(c.lines), Given{Command: []string{"./server"}})
		c.want.Name, c.want.Command = "c", []string{"./server"}
		if !reflect.DeepEqual(p.Config.Program, c.want) {
			t.Errorf("%s:\n%+v\nwant\n%+v", c.lines, p.Config.Program, c.want)
		}
	}
}

func TestPlan_HasTheGraceOfTheManifest(t *testing.T) {
	for spec, want := range map[string]time.Duration{
		"":                                     30 * time.Second,
		"terminationGracePeriodSeconds: 45\n":  45 * time.Second,
		"terminationGracePeriodSeconds: 0\n":   time.Second, // the kubelet turns 0 into 1
		"terminationGracePeriodSeconds: 600\n": 10 * time.Minute,
	} {
		if p := plan(t, pod(spec+"containers: [{name: c}]"), Given{}); p.Config.Grace != want {
			t.Errorf("%q: %v, want %v", spec, p.Config.Grace, want)
		}
	}
}

func TestPlan_RunsAProgramAloneWithTheArgsOfTheManifest(t *testing.T) {
	for _, c := range []struct {
		lines         string
		command, want []string
	}{
		{"args: [a, b]", []string{"./s"}, []string{"./s", "a", "b"}},
		{"args: [a, b]", []string{"./s", "c"}, []string{"./s", "c"}},
		{"command: [/app/s]\nargs: [a]", []string{"./s"}, []string{"./s", "a"}},
		{"command: [sh, -c]\nargs: [/app/s a]", []string{"./s"}, []string{"./s"}},
		{"env: [{name: NAME, value: v}]\nargs: [--n=$(NAME), $$(NAME), $(M)]", []string{"./s"}, []string{"./s", "--n=v", "$(NAME)", "$(M)"}},
	} {
		if p := plan(t, container(c.lines), Given{Command: c.command}); !slices.Equal(p.Config.Program.Command, c.want) {
			t.Errorf("%s: %q, want %q", c.lines, p.Config.Program.Command, c.want)
		}
	}
}

const objects = `---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {MODE: fast, app.conf: "mode fast"}
---
apiVersion: v1
kind: Secret
metadata: {name: db}
data: {url: cG9zdGdyZXM6Ly8=}
stringData: {password: hush}
`

func TestPlan_HasTheEnvironmentOfTheManifest(t *testing.T) {
	text := container(`resources: {limits: {cpu: 1500m, memory: 64Mi}}
envFrom: [{prefix: P_, configMapRef: {name: settings}}, {secretRef: {name: none, optional: true}}]
env:
- {name: A, value: one}
- {name: B, value: "$(A)-$$(A)-$(C)"}
- {name: URL, valueFrom: {secretKeyRef: {name: db, key: url}}}
- {name: PASSWORD, valueFrom: {secretKeyRef: {name: db, key: password}}}
- {name: NONE, valueFrom: {secretKeyRef: {name: db, key: none, optional: true}}}
- {name: HOME_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
- {name: APP, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}}
- {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
- {name: MIB, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
- {name: SHELL_HAS, valueFrom: {secretKeyRef: {name: other, key: k}}}
- {name: GIVEN, valueFrom: {secretKeyRef: {name: other, key: k}}}`) + objects
	p := plan(t, text, Given{
		Env:     []string{"A=two", "GIVEN=", "NEW=x=y"},
		Environ: func(name string) (string, bool) { return "of the shell", name == "SHELL_HAS" },
	})
	want := []string{"P_MODE=fast", "P_app.conf=mode fast", "B=$(A)-$(A)-$(C)", "URL=postgres://", "PASSWORD=hush", "HOME_IP=127.0.0.1", "APP=p",
		"CPU=2", "MIB=64", "SHELL_HAS=of the shell", "A=two", "GIVEN=", "NEW=x=y"}
	if got := p.Config.Program.Env; !slices.Equal(got, want) {
		t.Errorf("%q\nwant\n%q", got, want)
	}
}

func TestPlan_NamesEverythingThatIsMissing(t *testing.T) {
	text := pod(`containers:
- name: c
  image: i
  envFrom: [{secretRef: {name: all}}]
  env:
  - {name: URL, valueFrom: {secretKeyRef: {name: db, key: url}}}
  - {name: MODE, valueFrom: {configMapKeyRef: {name: settings, key: mode}}}
  lifecycle: {preStop: {exec: {command: [/app/no-such-drain]}}}
  livenessProbe: {exec: {command: [/app/no-such-drain]}}
  startupProbe: {exec: {command: [no-such-check]}}
  volumeMounts: [{name: data, mountPath: /data}, {name: conf, mountPath: /etc/no-such-app/}, {name: node, mountPath: /node}]
volumes:
- {name: data, persistentVolumeClaim: {claimName: claim}}
- {name: conf, configMap: {name: settings}}
- {name: node, hostPath: {path: /no/such/path}}`)
	set := read(t, text)
	given := Given{Environ: func(string) (string, bool) { return "", false }}
	_, err := set.Plan(set.Workloads[0], given)
	lacks := []string{
		"PersistentVolumeClaim claim at /data: --file /data=PATH",
		"ConfigMap settings at /etc/no-such-app: --file /etc/no-such-app=PATH",
		"/no/such/path of the host at /node: --file /node=PATH",
		"all variables of Secret all (envFrom): give its manifest with another -f",
		"variable URL, which is url of Secret db: --env URL=VALUE",
		"variable MODE, which is mode of ConfigMap settings: --env MODE=VALUE",
		"preStop runs /app/no-such-drain, which is not on this machine: --file /app/no-such-drain=PATH",
		"startupProbe runs no-such-check, which is not on this machine",
		"livenessProbe runs /app/no-such-drain, which is not on this machine: --file /app/no-such-drain=PATH",
	}
	if want := "Pod p wants what is not here:\n  " + strings.Join(lacks, "\n  ") + "\n--without-missing goes on without it"; err == nil || err.Error() != want {
		t.Fatalf("%v\nwant\n%s", err, want)
	}
	given.WithoutMissing = true
	if p := plan(t, text, given); len(p.Notes) != len(lacks) || !strings.HasPrefix(p.Notes[0], "without: PersistentVolumeClaim claim") {
		t.Errorf("notes %q", p.Notes)
	}
	dir := t.TempDir()
	text = strings.Replace(text, "no-such-check", "'true'", 1)
	given = Given{Env: []string{"URL=u", "MODE=m"}, Files: map[string]string{"/data": dir, "/etc/no-such-app/x": dir, "/node": dir, "/app/no-such-drain": "/bin/true"}}
	p := plan(t, text+"---\napiVersion: v1\nkind: Secret\nmetadata: {name: all}\n", given)
	if got := p.Config.Program.PreStop.Exec; !slices.Equal(got, []string{"/bin/true"}) || p.Notes != nil {
		t.Errorf("preStop %q, notes %q", got, p.Notes)
	}
}

func TestPlan_PutsFilesWhereTheProgramIsToldToLook(t *testing.T) {
	p := plan(t, pod(`containers:
- name: c
  image: i
  args: [--config=/etc/no-such/app/app.conf, --dirs=/etc/no-such/app:/cache, /etc/no-such/apple]
  env: [{name: WORK, value: /cache/work}]
  volumeMounts: [{name: conf, mountPath: /etc/no-such/app}, {name: cache, mountPath: /cache}, {name: one, mountPath: /etc/no-such/one.conf, subPath: app.conf}]
volumes:
- {name: conf, projected: {sources: [{configMap: {name: settings}}, {secret: {name: db, items: [{key: password, path: deep/pw}]}}]}}
- {name: one, configMap: {name: settings}}
- {name: cache, emptyDir: {}}`)+objects, Given{Command: []string{"./s"}})
	words := p.Config.Program.Command
	config, ok := strings.CutPrefix(words[1], "--config=")
	if content, err := os.ReadFile(config); !ok || err != nil || string(content) != "mode fast" {
		t.Errorf("%q: %q, %v", words, content, err)
	}
	if pw, err := os.ReadFile(filepath.Join(filepath.Dir(config), "deep", "pw")); err != nil || string(pw) != "hush" {
		t.Errorf("the secret's file: %q, %v", pw, err)
	}
	cache := p.paths["/cache"]
	if want := "--dirs=" + filepath.Dir(config) + ":" + cache; words[2] != want || words[3] != "/etc/no-such/apple" {
		t.Errorf("%q, want %q and no other path", words, want)
	}
	if info, err := os.Stat(cache); err != nil || !info.IsDir() || p.Config.Program.Env[0] != "WORK="+cache+"/work" {
		t.Errorf("%v, %q", err, p.Config.Program.Env)
	}
	if content, err := os.ReadFile(p.paths["/etc/no-such/one.conf"]); err != nil || string(content) != "mode fast" {
		t.Errorf("a file alone: %q, %v", content, err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(config); !os.IsNotExist(err) {
		t.Errorf("after Close: %v", err)
	}
}

func TestPlan_RefusesWhatKubernetesRefuses(t *testing.T) {
	for lines, want := range map[string]string{
		"volumeMounts: [{name: x, mountPath: /x}]":                        "container c mounts the volume x, which the pod does not have",
		"lifecycle: {preStop: {httpGet: {port: web}}}":                    `m.yaml:8: preStop: container c has no port of the name "web"`,
		"readinessProbe: {httpGet: {port: 0}}":                            "m.yaml:8: readinessProbe: port 0 must be between 1 and 65535",
		"livenessProbe: {tcpSocket: {port: web}}\nports: [{name: other}]": `livenessProbe: container c has no port of the name "web"`,
	} {
		set := read(t, container(lines))
		if _, err := set.Plan(set.Workloads[0], Given{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", lines, err, want)
		}
	}
	set := read(t, container(""))
	for target, want := range map[string]string{"etc": "must begin with /", "/etc": "no such file"} {
		if _, err := set.Plan(set.Workloads[0], Given{Files: map[string]string{target: "no-such-file"}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--file %s: %v", target, err)
		}
	}
}

func TestPlan_SendsClientsWhereTheServiceLeads(t *testing.T) {
	service := "---\napiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  selector: {app: p}\n  ports: "
	for _, c := range []struct{ text, want string }{
		{container(""), ""},
		{container("ports: [{containerPort: 8080}]"), "http://127.0.0.1:8080/"},
		{container("ports: [{containerPort: 53, protocol: UDP}, {name: grpc-api, containerPort: 9}, {name: web, containerPort: 8080}]"), "http://127.0.0.1:8080/"},
		{container("ports: [{name: probes, containerPort: 81}, {name: api, containerPort: 80}]\nreadinessProbe: {httpGet: {port: probes}}"), "http://127.0.0.1:80/"},
		{container("ports: [{name: api, containerPort: 80}]\nreadinessProbe: {tcpSocket: {port: api}}"), "http://127.0.0.1:80/"},
		{container("ports: [{containerPort: 80}, {name: x, containerPort: 81}]") + service + "[{port: 1, targetPort: x}]", "http://127.0.0.1:81/"},
		{container("ports: [{containerPort: 80}]") + service + "[{port: 1, targetPort: 90, appProtocol: grpc}, {port: 82}]", "http://127.0.0.1:82/"},
		{container("ports: [{containerPort: 80}]") + strings.Replace(service, "app: p", "app: q", 1) + "[{port: 82}]", "http://127.0.0.1:80/"},
	} {
		if p := plan(t, c.text, Given{}); trafficURL(p) != c.want {
			t.Errorf("%s:\n%q, want %q", c.text, trafficURL(p), c.want)
		}
	}
}

// trafficURL returns the address of a plan's clients, empty if there are none.
func trafficURL(p *Plan) string {
	if len(p.Config.Traffic) == 0 {
		return ""
	}
	return p.Config.Traffic[0].URL
}
