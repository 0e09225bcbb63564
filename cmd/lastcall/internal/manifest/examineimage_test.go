package manifest

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/lastcall-go/lastcall/rehearse"
)

// smallImage returns an image that has a shell, a script without exec and one with it.
func smallImage(t *testing.T) *Image {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"bin/busybox": "program", "server": "program",
		"start":  "#!/usr/bin/env bash\n# exec is not what it does\nprepare 2>&1\n./server \"$@\"\n",
		"exec":   "#!/bin/sh\nif [ -n \"$1\" ]; then exec \"$@\"; fi\n",
		"logged": "#!/bin/sh -e\nexec 2>&1\n./server\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/bin/busybox", filepath.Join(root, "bin/sh")); err != nil {
		t.Fatal(err)
	}
	return &Image{Root: root, Entrypoint: []string{"/server"}, User: 65532, UserName: "65532", Env: []string{"PATH=/usr/bin:/bin"}}
}

const unpackedManifest = `apiVersion: v1
kind: Pod
metadata: {name: api}
spec:
  securityContext: {runAsNonRoot: true}
  containers:
    - name: api
      image: api
      volumeMounts: [{name: tools, mountPath: /tools}]
      lifecycle:
        preStop: {exec: {command: [/bin/sh, -c, kill -USR1 1]}}
  volumes: [{name: tools, emptyDir: {}}]
`

// Each mistake of an image is found with the manifest that runs it, and the twin has none.
func TestExamine_FindsTheMistakesOfAnImage(t *testing.T) {
	const hook = "[/bin/sh, -c, kill -USR1 1]"
	for _, c := range []struct {
		from, to string
		change   func(*Image)
		code     rehearse.Code
		seen     string
	}{
		{code: ""},
		{hook, "[/tools/wait]", nil, "", ""},
		{hook, "[/bin/bash, -c, x]", nil, rehearse.HookFails, `preStop runs "/bin/bash", which the image does not have`},
		{hook, "[sh, -c, 'true && sleep 5']", nil, rehearse.HookFails, `preStop runs "sleep"`},
		{hook, "[sleep, '5']", nil, rehearse.HookFails, `preStop runs "sleep"`},
		{"", "", func(i *Image) { i.Entrypoint = []string{"sh", "-c", "./server"} }, BelowShell, "sh gets the signal"},
		{"", "", func(i *Image) { i.Entrypoint, i.Cmd = nil, []string{"npm", "start"} }, BelowShell, "npm gets the signal"},
		{"", "", func(i *Image) { i.Entrypoint = []string{"tini", "--", "/start"} }, BelowShell, `"/start" of the image gets the signal, and is a script`},
		{"", "", func(i *Image) { i.Entrypoint = []string{"/logged"} }, BelowShell, `"/logged" of the image`},
		{"", "", func(i *Image) { i.Entrypoint = []string{"/exec", "/server"} }, "", ""},
		{"image: api", "image: api\n      command: [/start]", nil, BelowShell, `"/start" of the image`},
		{"image: api", "image: api\n      command: [/server]", func(i *Image) { i.Entrypoint = []string{"/start"} }, "", ""},
		{"", "", func(i *Image) { i.StopSignal = syscall.SIGKILL }, BadSignal, "no program can handle signal 9"},
		{"", "", func(i *Image) { i.User, i.UserName = 0, "" }, Refused, "the image's USER is root"},
		{"", "", func(i *Image) { i.User, i.UserName = 0, "0:7" }, Refused, "the image's USER is root"},
		{"", "", func(i *Image) { i.UserName = "app:app" }, Refused, `USER is the name "app"`},
		{"image: api", "image: api\n      securityContext: {runAsUser: 7}", func(i *Image) { i.UserName = "app" }, "", ""},
		{"image: api", "image: api\n      securityContext: {runAsNonRoot: false}", func(i *Image) { i.UserName = "" }, "", ""},
	} {
		im := smallImage(t)
		if c.change != nil {
			c.change(im)
		}
		s := read(t, strings.Replace(unpackedManifest, c.from, c.to, 1))
		if err := s.Unpacked(im, "api.tar", ""); err != nil {
			t.Fatal(err)
		}
		var found []Finding
		for _, f := range s.Examine() {
			if f.Code != NoReadiness {
				found = append(found, f)
			}
		}
		if c.code == "" && found == nil {
			continue
		}
		if len(found) != 1 || found[0].Code != c.code || !strings.Contains(found[0].Seen, c.seen) {
			t.Errorf("%q, %+v:\n%+v\nwant %s %s", c.to, im, found, c.code, c.seen)
		}
	}
}

func TestUnpacked_IsTheImageOfTheContainersThatRunIt(t *testing.T) {
	const two = "spec:\n  containers:\n    - {name: api, image: api}\n    - {name: log, image: 'quay.io/log:2'}\n"
	for _, c := range []struct{ name, container, want string }{
		{"docker.io/library/api:latest", "", "api"},
		{"quay.io/log:2", "", "log"},
		{"quay.io/log:3", "", "say which one does, with --container api|log"},
		{"api.tar", "", "say which one does, with --container api|log"},
		{"api.tar", "log", "log"},
		{"api.tar", "none", "no workload has a container none: there are api, log"},
	} {
		s := read(t, "apiVersion: v1\nkind: Pod\nmetadata: {name: api}\n"+two)
		err := s.Unpacked(new(Image), c.name, c.container)
		var got string
		for one := range s.unpacked {
			got += one.Name
		}
		if err != nil {
			got = err.Error()
		}
		if got != c.want && (err == nil || !strings.HasSuffix(got, c.want)) {
			t.Errorf("%+v: %s", c, got)
		}
	}
}
