// A server as in Gin's quickstart. With "shutdown" it is Gin's example of a graceful shutdown.
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

	"github.com/gin-gonic/gin"
)

func main() {
	router := gin.Default()
	router.GET("/", func(c *gin.Context) { c.String(http.StatusOK, "hello\n") })
	router.GET("/slow", func(c *gin.Context) {
		time.Sleep(1500 * time.Millisecond)
		c.String(http.StatusOK, "done\n")
	})
	address := "127.0.0.1:" + os.Getenv("PORT")
	if len(os.Args) < 2 {
		log.Fatal(router.Run(address))
	}
	srv := &http.Server{Addr: address, Handler: router.Handler()}
	go func() {
		if err := srv.ListenAndServe(); err != nil && !errors.Is(err, http.ErrServerClosed) {
			log.Fatalf("listen: %s\n", err)
		}
	}()
	quit := make(chan os.Signal, 1)
	signal.Notify(quit, syscall.SIGINT, syscall.SIGTERM)
	<-quit
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		log.Fatal("Server Shutdown: ", err)
	}
}
