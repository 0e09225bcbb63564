//go:build linux

package main

import (
	"maps"
	"slices"
)

// servers returns all servers that are rehearsed, in the order of the page.
func servers() []server {
	return slices.Concat(webServers(), proxies(), databases(), nodeServers(), pythonServers(), rubyAndPHP(), javaServers(), goServers())
}

// web are the flags for a server with a quick and a slow path.
var web = []string{"--http", "http://127.0.0.1:{{.Port}}/", "--slow", "http://127.0.0.1:{{.Port}}/slow"}

// filler is the text of a file that takes two seconds at 50 KiB a second.
const filler = "{{.Filler}}"

// with returns the files of a server with an additional one.
func with(files map[string]string, name, text string) map[string]string {
	more := maps.Clone(files)
	more[name] = text
	return more
}

// What most servers do: they stop accepting at once, and close idle connections.
var (
	closesAtOnce = findings{fails: "LC104", warns: "LC105"}
	closesLater  = findings{warns: "LC105"}
)
