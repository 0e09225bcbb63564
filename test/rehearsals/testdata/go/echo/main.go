// A server as in Echo's quick start. With "shutdown" it is Echo's recipe for a graceful shutdown,
// which handles os.Interrupt; SIGTERM is added.
package main

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/labstack/echo/v4"
)

func main() {
	e := echo.New()
	e.GET("/", func(c echo.Context) error { return c.String(http.StatusOK, "hello\n") })
	e.GET("/slow", func(c echo.Context) error {
		time.Sleep(1500 * time.Millisecond)
		return c.String(http.StatusOK, "done\n")
	})
	address := "127.0.0.1:" + os.Getenv("PORT")
	if len(os.Args) < 2 {
		e.Logger.Fatal(e.Start(address))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		if err := e.Start(address); err != nil && !errors.Is(err, http.ErrServerClosed) {
			log.Fatal("shutting down the server: ", err)
		}
	}()
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := e.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
}
