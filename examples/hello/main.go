// Command hello answers a request at once and goes on working for it.
package main

import (
	"cmp"
	"context"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/lastcall-go/lastcall"
)

func main() { os.Exit(lastcall.Main(lastcall.Config{Grace: 30 * time.Second}, setup)) }

func setup(_ context.Context, g *lastcall.Group) error {
	l, err := net.Listen("tcp", ":"+cmp.Or(os.Getenv("PORT"), "8080"))
	if err != nil {
		return err
	}
	thumbnail := func(context.Context) error { time.Sleep(5 * time.Second); log.Print("thumbnail done"); return nil }
	http.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		if err := g.Background(r.Context(), "thumbnail", thumbnail); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	return g.HTTP("api", &http.Server{}, l)
}
