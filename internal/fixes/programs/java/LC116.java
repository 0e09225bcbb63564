import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/** A server that answers its liveness probe only when it has loaded its data. */
class Main {
    static final int DELAY = 3; // seconds after the signal, while clients are still routed here
    // Seconds for requests: delay and patience fit into the grace period.
    static final int PATIENCE = 10;

    static volatile boolean loaded;
    static volatile boolean stopping;
    static final AtomicInteger underWay = new AtomicInteger();

    static void load() {
        pause(10000);
        loaded = true;
    }

    static void handle(HttpExchange exchange) throws IOException {
        underWay.incrementAndGet();
        try (exchange) {
            answer(exchange);
        } finally {
            underWay.decrementAndGet();
        }
    }

    static void answer(HttpExchange exchange) throws IOException {
        String path = exchange.getRequestURI().getPath();
        if (stopping) {
            // The next request goes to another pod.
            exchange.getResponseHeaders().set("Connection", "close");
        }
        int status = 200;
        if (!path.equals("/livez") && (!loaded || stopping && path.equals("/readyz"))) {
            status = 503; // it is alive, but should get no new clients
        }
        byte[] body = "hello\n".getBytes();
        exchange.sendResponseHeaders(status, body.length);
        exchange.getResponseBody().write(body);
    }

    public static void main(String[] args) throws IOException {
        String host = System.getenv().getOrDefault("HOST", "0.0.0.0");
        int port = Integer.parseInt(System.getenv().getOrDefault("PORT", "8080"));
        HttpServer server = HttpServer.create(new InetSocketAddress(host, port), 128);
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext("/", Main::handle);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stopping = true;
            pause(DELAY * 1000);
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE);
            // stop(PATIENCE) may wait in vain.
            while (underWay.get() > 0 && System.nanoTime() < deadline) {
                pause(50);
            }
            server.stop(0);
            Runtime.getRuntime().halt(0); // otherwise the virtual machine exits with 143
        }));
        load();
        server.start();
    }

    static void pause(int millis) {
        try {
            TimeUnit.MILLISECONDS.sleep(millis);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
