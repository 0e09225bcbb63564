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

// compose writes a Compose file with the files next to it, and reads it.
func compose(t *testing.T, text string, files map[string]string) (*Set, error) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Read(Source{Name: filepath.Join(dir, "compose.yaml"), Text: []byte(text)})
}

func TestCompose_BecomesARehearsal(t *testing.T) {
	set, err := compose(t, `
x-common: &common {environment: {MODE: "${MODE:-slow}", PRICE: 5$$, COLOR: "$COLOR", TEXT: $$(MODE)}}
services:
  db: {image: postgres}
  web:
    <<: *common
    image: web
    entrypoint: /app/web --port 80
    command: ["--name", "a b", --conf=/conf/app, /run/secrets/key]
    stop_grace_period: 1m30s
    stop_signal: SIGINT
    ports: ["8080:80", {target: 443, app_protocol: https}]
    volumes: [./settings:/conf, "data:/data"]
    secrets: [key]
    env_file: web.env
    deploy: {replicas: 2}
    profiles: [all]
    pre_stop: [{command: [/bin/sleep, "1"]}]
    healthcheck: {test: curl -f http://localhost, timeout: 3s}
volumes: {data: {}}
secrets: {key: {file: ./key.txt}}
`, map[string]string{".env": "COLOR=red\nMODE=fast\n", "web.env": "FROM_FILE=yes\n", "key.txt": "k", "settings": "x"})
	if err != nil {
		t.Fatal(err)
	}
	w, err := set.Workload("web")
	if err != nil || w.String() != "service web" || w.Replicas != 2 {
		t.Fatalf("%v, %v", w, err)
	}
	p, err := set.Plan(w, Given{Command: []string{"./web"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	dir := filepath.Dir(w.source)
	want := rehearse.Container{
		Name: "web", Command: []string{"./web", "--name", "a b", "--conf=" + dir + "/settings/app", dir + "/key.txt"},
		Env:        []string{"COLOR=red", "FROM_FILE=yes", "MODE=fast", "PRICE=5$", "TEXT=$(MODE)"},
		PreStop:    &rehearse.Hook{Exec: []string{"/bin/sleep", "1"}},
		StopSignal: syscall.SIGINT,
		Startup:    &rehearse.Probe{Exec: []string{"/bin/sh", "-c", "curl -f http://localhost"}, Period: time.Second, Timeout: 3 * time.Second, FailureThreshold: 600},
	}
	if !reflect.DeepEqual(p.Config.Program, want) {
		t.Errorf("%+v\nwant\n%+v", p.Config.Program, want)
	}
	if p.Config.Grace != 90*time.Second || trafficURL(p) != "http://127.0.0.1:80/" {
		t.Errorf("grace %v, %s", p.Config.Grace, trafficURL(p))
	}
	if len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "data at /data is empty: --file /data=PATH") {
		t.Errorf("notes %q", p.Notes)
	}
	db, _ := set.Workload("db")
	if p, err := set.Plan(db, Given{}); err != nil || p.Config.Grace != 10*time.Second {
		t.Errorf("the grace of who says nothing: %v, %v", p, err)
	}
}

func TestCompose_AnInitIsPIDOne(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	set, err := compose(t, "services: {web: {image: web, init: true}}", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := set.Plan(set.Workloads[0], Given{Command: []string{"./web"}})
	if err != nil || !slices.Equal(p.Config.Program.Command, []string{"./web"}) || len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "no docker-init, tini or catatonit") {
		t.Errorf("without an init: %v, %q, %q", err, p.Config.Program.Command, p.Notes)
	}
	tini := filepath.Join(dir, "tini")
	if err := os.WriteFile(tini, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	p, err = set.Plan(set.Workloads[0], Given{Command: []string{"./web"}})
	if err != nil || !slices.Equal(p.Config.Program.Command, []string{tini, "--", "./web"}) || p.Notes != nil {
		t.Errorf("with an init: %v, %q, %q", err, p.Config.Program.Command, p.Notes)
	}
}

func TestCompose_NamesWhatIsWrongAndItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"services:\n  web:\n    image: x\n    stop_grace: 3s\n":          "compose.yaml:4: ",
		"services:\n  web:\n    image: x\n    stop_grace_period: soon\n": "soon",
		"services:\n  web:\n    image: x\n    stop_grace_period: -1s\n":  "compose.yaml:4: stop_grace_period is -1s",
		"services:\n  web:\n    image: x\n    stop_signal: SIGNONE\n":    `there is no signal "SIGNONE"`,
		"services:\n  web:\n    image: x\n    env_file: none.env\n":      "none.env",
		"services:\n  web: {image: x}\n  web: {image: y}\n":              "web",
		"services:\n  web:\n    image: \"${NAME:?say which}\"\n":         "say which",
		"services: {}\n": "the manifest is empty",
		"services:\n  web:\n    image: x\n    pre_stop: [{command: []}]\n":        "preStop has no command",
		"services:\n  web:\n    image: x\n    volumes: [other:/x]\n":              "other",
		"services:\n  web:\n    image: x\n    secrets: [none]\n":                  "none",
		"services:\n  web:\n    image: x\n    extends: {file: a.yml, service: b}": "a.yml",
	} {
		set, err := compose(t, text, nil)
		if err == nil {
			_, err = set.Workload("")
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestCompose_IsExaminedAsManifestsAre(t *testing.T) {
	for text, want := range map[string]rehearse.Code{
		"image: x\n    ports: ['80']":                                                                   "",
		"image: x\n    stop_grace_period: 0s":                                                           NoGrace,
		"image: x\n    stop_signal: SIGKILL":                                                            BadSignal,
		"image: x\n    stop_signal: SIGINT":                                                             "",
		"image: x\n    command: sh -c 'a && b'":                                                         BelowShell,
		"image: x\n    command: uvicorn --timeout-graceful-shutdown 10 app:app":                         Budget,
		"image: x\n    command: uvicorn --timeout-graceful-shutdown 9 app:app":                          "",
		"image: x\n    stop_grace_period: 20s\n    command: uvicorn --timeout-graceful-shutdown 10 a:b": "",
		"image: x\n    pre_stop: [{command: sleep 10}]":                                                 rehearse.HookOverruns,
		"image: x\n    environment: {DB: 'sqlite:/d'}\n    deploy: {replicas: 2}":                       SharedFile,
		"image: x\n    environment: {DB: 'sqlite:/d'}":                                                  "",
	} {
		set, err := compose(t, "services:\n  web:\n    "+text+"\n", nil)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		found := set.Examine()
		if want == "" && found != nil || want != "" && (len(found) != 1 || found[0].Code != want) {
			t.Errorf("%s: %+v, want %s", text, found, want)
		}
	}
}
