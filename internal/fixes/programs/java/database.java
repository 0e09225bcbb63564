import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/** A server that keeps its database connection until the last request is answered, and exits with 0. */
class Main {
    static final int DELAY = 3; // seconds after the signal, while clients are still routed here
    // Seconds for requests: delay and patience fit into the grace period.
    static final int PATIENCE = 10;

    /** It stands for a connection to a database. */
    static class Connection {
        Connection() {
            pause(4000); // TLS, a login, and a cold cache
        }

        String query() {
            return "hello\n";
        }
    }

    static volatile Connection database;
    static volatile boolean stopping;
    static final AtomicInteger underWay = new AtomicInteger();

    static void handle(HttpExchange exchange) throws IOException {
        underWay.incrementAndGet();
        try (exchange) {
            Connection connection = database;
            if (connection == null) {
                connection = new Connection(); // for this request alone
            }
            byte[] body = connection.query().getBytes();
            if (stopping) {
                // The next request goes to another pod.
                exchange.getResponseHeaders().set("Connection", "close");
            }
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
        } finally {
            underWay.decrementAndGet();
        }
    }

    public static void main(String[] args) throws IOException {
        String host = System.getenv().getOrDefault("HOST", "0.0.0.0");
        int port = Integer.parseInt(System.getenv().getOrDefault("PORT", "8080"));
        database = new Connection();
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
            database = null; // closed
            Runtime.getRuntime().halt(0); // otherwise the virtual machine exits with 143
        }));
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
