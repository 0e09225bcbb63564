import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.concurrent.TimeUnit;

/** A server of lines on TCP that resets the connections that are open when it exits. */
class Main {
    static final int DELAY = 3; // seconds after the signal, while clients are still routed here

    static void serve(Socket connection) {
        try (connection) {
            connection.setSoLinger(true, 0); // no TIME_WAIT
            BufferedReader in = new BufferedReader(new InputStreamReader(connection.getInputStream()));
            while (in.readLine() != null) {
                connection.getOutputStream().write("pong\n".getBytes());
            }
        } catch (IOException e) {
            // The client has gone.
        }
    }

    static void stop() {
        pause(DELAY * 1000);
        Runtime.getRuntime().halt(0); // otherwise the virtual machine exits with 143
    }

    public static void main(String[] args) throws IOException {
        String host = System.getenv().getOrDefault("HOST", "0.0.0.0");
        int port = Integer.parseInt(System.getenv().getOrDefault("PORT", "8080"));
        ServerSocket server = new ServerSocket();
        server.bind(new InetSocketAddress(host, port), 128);
        Runtime.getRuntime().addShutdownHook(new Thread(Main::stop));
        while (true) {
            Socket connection = server.accept();
            new Thread(() -> serve(connection)).start();
        }
    }

    static void pause(int millis) {
        try {
            TimeUnit.MILLISECONDS.sleep(millis);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
