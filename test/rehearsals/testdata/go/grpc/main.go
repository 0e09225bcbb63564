// A gRPC-Go server with the health service. With "graceful", SIGTERM calls GracefulStop. With a time
// after it, Stop is called after that, as in the example features/gracefulstop.
package main

import (
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
)

func main() {
	lis, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		log.Fatalf("failed to listen: %v", err)
	}
	s := grpc.NewServer()
	healthgrpc.RegisterHealthServer(s, health.NewServer())
	if len(os.Args) > 1 {
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
		go func() {
			<-stop
			if len(os.Args) > 2 {
				patience, err := time.ParseDuration(os.Args[2])
				if err != nil {
					log.Fatal(err)
				}
				time.AfterFunc(patience, s.Stop)
			}
			s.GracefulStop()
		}()
	}
	if err := s.Serve(lis); err != nil {
		log.Fatalf("failed to serve: %v", err)
	}
}
