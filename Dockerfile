# One image for the service and for device hosts; the command selects which.
FROM node:22-slim
WORKDIR /patchbay
COPY . .
# Also generates the clients and builds the dashboard.
RUN npm ci && mkdir data && chown node data
USER node
VOLUME /patchbay/data
EXPOSE 7070
ENTRYPOINT ["node_modules/.bin/node", "src/cli/patchbay.ts"]
CMD ["serve"]
